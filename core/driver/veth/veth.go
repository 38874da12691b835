// Package veth waits for the host's end of a machine's link and gives it its
// address where no networkd does.
//
// systemd-nspawn makes the link and the kernel removes it with the machine;
// this package never makes one, and never touches a link that is not a veth.
package veth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Wait returns once a link of that name exists.
func Wait(ctx context.Context, name string) error {
	return watch(ctx, name, func(there bool) bool { return there })
}

// WaitGone returns once no link of that name exists.
func WaitGone(ctx context.Context, name string) error {
	return watch(ctx, name, func(there bool) bool { return !there })
}

// watch follows the kernel's announcements of links until satisfied. It asks
// for itself before the first and, as an announcement can be lost when the
// kernel's queue is full, once in a while.
func watch(ctx context.Context, name string, satisfied func(there bool) bool) error {
	updates := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	defer close(done)
	if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ErrorCallback: func(error) {}}); err != nil {
		return fmt.Errorf("watching for the link %s: %w", name, err)
	}
	// The library's reader blocks on a channel that nobody empties.
	defer func() {
		go func() {
			for range updates { //nolint:revive // only emptied
			}
		}()
	}()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	open := updates
	for {
		there, err := Exists(name)
		if err != nil {
			return err
		}
		if satisfied(there) {
			return nil
		}
		select {
		case _, ok := <-open:
			if !ok {
				open = nil // the subscription broke; the ticker goes on
			}
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the link %s: %w", name, context.Cause(ctx))
		}
	}
}

// Exists tells whether there is a link of that name.
func Exists(name string) (bool, error) {
	_, err := find(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return false, nil
	}
	return err == nil, err
}

func find(name string) (netlink.Link, error) {
	for {
		link, err := netlink.LinkByName(name)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		var missing netlink.LinkNotFoundError
		if err != nil && !errors.As(err, &missing) {
			return nil, fmt.Errorf("looking at the link %s: %w", name, err)
		}
		return link, err
	}
}

// Configure gives the link the address and brings it up, without IPv6. Where it
// has it already nothing is done, and nothing announced.
func Configure(name string, address netip.Prefix) error {
	link, err := find(name)
	if err != nil {
		return err
	}
	if link.Type() != "veth" {
		return fmt.Errorf("the link %s is of kind %s, not veth: it is not a machine's", name, link.Type())
	}
	if err := withoutIPv6(name); err != nil {
		return err
	}
	if configured(link, address) {
		return nil
	}
	a, err := netlink.ParseAddr(address.String())
	if err != nil {
		return fmt.Errorf("the address %s: %w", address, err)
	}
	if err := netlink.AddrReplace(link, a); err != nil {
		return fmt.Errorf("giving the link %s the address %s: %w", name, address, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing the link %s up: %w", name, err)
	}
	return nil
}

// withoutIPv6 keeps IPv6 off the link, of which machines have none. Else the
// kernel would take the machine for a router as soon as it says that it is one,
// and send it whatever this host sends by IPv6.
func withoutIPv6(name string) error {
	conf := "/proc/sys/net/ipv6/conf/" + name
	is := func(file, value string) bool {
		text, err := os.ReadFile(conf + file)
		return err == nil && strings.TrimSpace(string(text)) == value
	}
	if _, err := os.Stat(conf); errors.Is(err, fs.ErrNotExist) || is("/disable_ipv6", "1") {
		return nil // a kernel without it, or done already
	}
	err := os.WriteFile(conf+"/disable_ipv6", []byte("1"), 0)
	if err == nil || is("/accept_ra", "0") && is("/accept_redirects", "0") {
		return nil
	}
	return fmt.Errorf("keeping IPv6 off the link %s, by which its machine could have itself be this host's router: %w", name, err)
}

func configured(link netlink.Link, address netip.Prefix) bool {
	if link.Attrs().Flags&net.FlagUp == 0 {
		return false
	}
	addrs, err := netlink.AddrList(link, unix.AF_INET)
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if bits, _ := a.Mask.Size(); a.IP.Equal(address.Addr().AsSlice()) && bits == address.Bits() {
			return true
		}
	}
	return false
}

// Remove removes the link where a machine that was killed left it behind. A
// link that is not there is no error.
func Remove(name string) error {
	link, err := find(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	if link.Type() != "veth" {
		return fmt.Errorf("the link %s is of kind %s, not veth: it is not removed", name, link.Type())
	}
	err = netlink.LinkDel(link)
	if errors.Is(err, unix.ENODEV) {
		return nil // it went meanwhile
	}
	if err != nil {
		return fmt.Errorf("removing the link %s: %w", name, err)
	}
	return nil
}
