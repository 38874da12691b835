package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/godbus/dbus/v5"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Taken are the IPv4 subnets that this host's addresses and routes lead to,
// the default route left out. Links of which skip is true do not count.
func Taken(skip func(link string) bool) ([]netip.Prefix, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	skipped := map[int]bool{}
	for _, l := range links {
		skipped[l.Attrs().Index] = skip(l.Attrs().Name)
	}
	var taken []netip.Prefix
	add := func(n *net.IPNet) {
		if n == nil {
			return
		}
		if a, ok := netip.AddrFromSlice(n.IP.To4()); ok {
			if bits, _ := n.Mask.Size(); bits > 0 {
				taken = append(taken, netip.PrefixFrom(a, bits).Masked())
			}
		}
	}
	addrs, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	for _, a := range addrs {
		if !skipped[a.LinkIndex] {
			add(a.IPNet)
		}
	}
	// Every table: a VPN often has one of its own.
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	for _, r := range routes {
		if !skipped[r.LinkIndex] {
			add(r.Dst)
		}
	}
	return taken, nil
}

// LinkExists reports whether the host has a link of that name.
func LinkExists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// LinkHas says what keeps a link of the host from having an address; nil when
// the link is there, is up and has it.
func LinkHas(name string, address netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Errorf("%s is down", name)
	}
	addrs, err := netlink.AddrList(link, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, a := range addrs {
		if have, ok := netip.AddrFromSlice(a.IP.To4()); ok && have == address.Addr() {
			return nil
		}
	}
	return fmt.Errorf("%s does not have the address %s", name, address)
}

// Bus is a connection to the system bus.
type Bus struct{ conn *dbus.Conn }

// Connect opens a connection of its own to the system bus.
func Connect(ctx context.Context) (*Bus, error) {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("system bus: %w", err)
	}
	return &Bus{conn}, nil
}

// Close ends the connection.
func (b *Bus) Close() error { return b.conn.Close() }

const (
	systemd1 = "org.freedesktop.systemd1"
	network1 = "org.freedesktop.network1"
)

// ReloadUnits makes the service manager read its unit files again.
func (b *Bus) ReloadUnits(ctx context.Context) error {
	o := b.conn.Object(systemd1, "/org/freedesktop/systemd1")
	if err := o.CallWithContext(ctx, systemd1+".Manager.Reload", 0).Err; err != nil {
		return fmt.Errorf("daemon-reload: %w", err)
	}
	return nil
}

// ReloadNetwork makes networkd read its files again. Links whose file did not
// change keep what they have; routes of others are never touched.
func (b *Bus) ReloadNetwork(ctx context.Context) error {
	o := b.conn.Object(network1, "/org/freedesktop/network1")
	if err := o.CallWithContext(ctx, network1+".Manager.Reload", dbus.FlagNoAutoStart).Err; err != nil {
		return fmt.Errorf("networkctl reload: %w", err)
	}
	return nil
}

// ReloadRunningNetwork is ReloadNetwork where that runs, and nothing else.
func (b *Bus) ReloadRunningNetwork(ctx context.Context) error {
	var none dbus.Error
	if err := b.ReloadNetwork(ctx); !errors.As(err, &none) || none.Name != "org.freedesktop.DBus.Error.NameHasNoOwner" {
		return err
	}
	return nil
}

// ReloadResolver makes resolved read its files again. It is restarted where it
// cannot reload, which costs its cache and nothing else.
func (b *Bus) ReloadResolver(ctx context.Context) error {
	o := b.conn.Object(systemd1, "/org/freedesktop/systemd1")
	const unit = "systemd-resolved.service"
	if err := o.CallWithContext(ctx, systemd1+".Manager.ReloadOrTryRestartUnit", 0, unit, "replace").Err; err != nil {
		return fmt.Errorf("reloading %s: %w", unit, err)
	}
	return nil
}

// UnitActive reports whether a unit runs.
func (b *Bus) UnitActive(ctx context.Context, unit string) (bool, error) {
	var path dbus.ObjectPath
	o := b.conn.Object(systemd1, "/org/freedesktop/systemd1")
	if err := o.CallWithContext(ctx, systemd1+".Manager.LoadUnit", 0, unit).Store(&path); err != nil {
		return false, fmt.Errorf("unit %s: %w", unit, err)
	}
	var state dbus.Variant
	p := b.conn.Object(systemd1, path)
	if err := p.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemd1+".Unit", "ActiveState").Store(&state); err != nil {
		return false, fmt.Errorf("unit %s: %w", unit, err)
	}
	return state.Value() == "active", nil
}
