package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/driver/veth"
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/machines"
)

// private tells whether the machine has no link.
func (p *patient) private() bool { return p.m.Interface == "" || p.m.Spec.Network.Private }

// link looks at this host's end of the machine's link.
func (p *patient) link() []Finding {
	const id = "machine.link"
	if p.private() {
		return one(ok(id, "it has no link, as it was asked for"))
	}
	want := p.m.Interface
	name, err := hostEnd(p.status.Leader)
	if err != nil {
		name = ""
	}
	p.hostLink = name
	switch {
	case host.LinkExists(want):
		p.hostLink = want
	case name == "":
		return one(broken(Reach, id, "its link "+want+" is gone", "nothing reaches it; the link comes with the machine's next start",
			fmt.Sprintf("nspawn-build stop %s && nspawn-build start %s", p.m.Name, p.m.Name)))
	default:
		return one(broken(Reach, id, "its link is called "+name+" and not "+want, "neither networkd nor the firewall knows the link by that name", "").fixable(p.rename))
	}
	if f, outranked := p.takenFile(); outranked {
		return one(f)
	}
	if err := host.LinkHas(want, p.m.HostSide); err != nil {
		return one(broken(Reach, id, oneLine(err), "packets to the machine leave by another link, or by none", "").fixable(p.configure))
	}
	return one(ok(id, fmt.Sprintf("its link %s has %s", want, p.m.HostSide)))
}

// takenFile tells by which file networkd manages the link.
func (p *patient) takenFile() (Finding, bool) {
	const id = "machine.network-file"
	if !machines.NetworkdServes(p.m) {
		return Finding{}, false
	}
	ours := machines.NetworkPath(p.m.Name)
	file, err := host.NetworkFile(p.m.Interface)
	switch {
	case err != nil:
		return untold(id, err), true
	case file == ours:
		return Finding{}, false
	case file == "":
		if err := host.LinkHas(p.m.Interface, p.m.HostSide); err == nil {
			return Finding{}, false // networkd does not run, which is said
		}
		return broken(Reach, id, "networkd does not manage "+p.m.Interface, "the link has no address from it", "").fixable(p.configure), true
	}
	return broken(Reach, id, p.m.Interface+" is configured by "+file+", which comes before ours", "the link does not get the address that the machine was set up for", moveBehind(file)), true
}

// outranked tells which file the link of a machine that is off would take.
func (p *patient) outranked() []Finding {
	const id = "machine.network-file"
	if !machines.NetworkdServes(p.m) {
		return nil
	}
	file, err := host.Outranking(p.m.Interface, machines.NetworkPath(p.m.Name))
	switch {
	case err != nil:
		return one(untold(id, err))
	case file != "":
		return one(broken(Reach, id, p.m.Interface+" will be configured by "+file+", which comes before ours", "the link will not get the address that the machine was set up for", moveBehind(file)))
	}
	return one(ok(id, "no other .network file comes before ours"))
}

// moveBehind gives a .network file a name that sorts after ours.
func moveBehind(file string) string { return machines.MoveBehind(file) + " && networkctl reload" }

// hostEnd is the name, on this host, of the other end of the machine's host0.
func hostEnd(pid int) (name string, err error) {
	l, err := leader.Open(pid)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	file, err := l.OpenFile("ns/net")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	inside, err := netlink.NewHandleAt(netns.NsHandle(file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return "", err
	}
	defer inside.Close()
	end, err := inside.LinkByName("host0")
	if err != nil {
		return "", err
	}
	other, err := netlink.LinkByIndex(end.Attrs().ParentIndex)
	if err != nil {
		return "", err
	}
	if other.Type() != "veth" || other.Attrs().ParentIndex != end.Attrs().Index {
		return "", errors.New("host0 is no veth")
	}
	return other.Attrs().Name, nil
}

// rename gives the link its name back, and what it lost with it.
func (p *patient) rename(ctx context.Context) error {
	name, err := hostEnd(p.status.Leader)
	if err != nil {
		return err
	}
	for _, m := range p.machines {
		if m.Name != p.m.Name && m.Interface == name {
			return fmt.Errorf("%s is the link of machine %s", name, m.Name)
		}
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetDown(l); err != nil {
		return err
	}
	if err := netlink.LinkSetName(l, p.m.Interface); err != nil {
		return errors.Join(err, netlink.LinkSetUp(l))
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	return p.configure(ctx)
}

// configure has this host's end of the link set up again by whose job it is.
func (p *patient) configure(ctx context.Context) (err error) {
	if !machines.NetworkdServes(p.m) {
		return veth.Configure(p.m.Interface, p.m.HostSide)
	}
	bus, err := host.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	if active, err := bus.UnitActive(ctx, networkdUnit); err != nil || !active {
		return errors.Join(errors.New(networkdUnit+" does not run: "+start(networkdUnit)), err)
	}
	l, err := netlink.LinkByName(p.m.Interface)
	if err != nil {
		return err
	}
	if err := bus.ReloadNetwork(ctx); err != nil {
		return err
	}
	if err := bus.ReconfigureLink(ctx, l.Attrs().Index); err != nil {
		return err
	}
	return p.awaitAddress(ctx)
}

// awaitAddress gives networkd a moment.
func (p *patient) awaitAddress(ctx context.Context) error {
	for range 50 {
		err := host.LinkHas(p.m.Interface, p.m.HostSide)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return host.LinkHas(p.m.Interface, p.m.HostSide)
}

// addressTaken finds what else on this host leads to the machine's subnet.
func (p *patient) addressTaken() []Finding {
	const id = "machine.address-taken"
	if p.private() {
		return nil
	}
	ours := p.m.Address.Masked()
	claims, err := claimsOn(ours, func(link string) bool { return link == p.m.Interface || link == p.hostLink })
	if err != nil {
		return one(untold(id, err))
	}
	var found []Finding
	for _, c := range claims {
		f := broken(Reach, id, fmt.Sprintf("%s on %s takes the machine's subnet %s", c.prefix, c.link, ours),
			"packets to the machine leave by that link", c.remove)
		if c.prefix.Bits() < ours.Bits() { // the longer one, ours, wins
			f.Severity, f.area = Warning, nowhere
			f.What = fmt.Sprintf("the machine's subnet %s is a piece of %s on %s", ours, c.prefix, c.link)
			f.Why = "what is there under addresses of the machine's subnet is hidden from this host"
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		return one(ok(id, "nothing else has its subnet "+ours.String()))
	}
	return found
}

// claim is an address or a route.
type claim struct {
	prefix netip.Prefix
	link   string
	remove string // the command
}

func claimsOn(subnet netip.Prefix, skip func(link string) bool) ([]claim, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	var found []claim
	for _, l := range links {
		name := l.Attrs().Name
		if skip(name) {
			continue
		}
		addrs, err := netlink.AddrList(l, unix.AF_INET)
		if err != nil {
			return nil, err
		}
		of := map[netip.Prefix]bool{}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.IPNet.String()); err == nil && p.Overlaps(subnet) {
				of[p.Masked()] = true
				found = append(found, claim{p, name, fmt.Sprintf("ip address delete %s dev %s", p, name)})
			}
		}
		routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{LinkIndex: l.Attrs().Index, Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if r.Dst == nil || r.Table == unix.RT_TABLE_LOCAL {
				continue
			}
			p, err := netip.ParsePrefix(r.Dst.String())
			const wholes = 8 // a shorter one is a default route, or a piece of one
			if err != nil || p.Bits() < wholes || !p.Overlaps(subnet) || of[p.Masked()] {
				continue
			}
			remove := fmt.Sprintf("ip route delete %s dev %s", p, name)
			if r.Table != unix.RT_TABLE_MAIN {
				remove += fmt.Sprintf(" table %d", r.Table)
			}
			found = append(found, claim{p, name, remove})
		}
	}
	return found, nil
}

// words joins what was said on several lines.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }
