//go:build integration

package hostlink

import (
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// announce says from a site, in the way of RFC 4861, that it is a router.
func announce() error {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	if err := unix.SetsockoptInt(s, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
		return err
	}
	message := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0} // for half an hour
	everybody := &unix.SockaddrInet6{ZoneId: uint32(eth0.Index), Addr: [16]byte{0: 0xff, 1: 0x02, 15: 1}}
	return unix.Sendto(s, message, 0, everybody)
}

// routed tells whether this host takes the site behind a link for a router.
func routed(t *testing.T, s site, link string) bool {
	t.Helper()
	s.must(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		a, err := netlink.ParseAddr("fe80::2/64")
		if err != nil {
			return err
		}
		a.Flags = unix.IFA_F_NODAD
		return netlink.AddrReplace(eth0, a)
	})
	l, err := netlink.LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		s.must(announce)
		routes, err := netlink.RouteListFiltered(unix.AF_INET6, &netlink.Route{LinkIndex: l.Attrs().Index}, netlink.RT_FILTER_OIF)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			if r.Gw != nil {
				return true
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// Root in a machine may say what he likes on its link.
func TestAMachineIsNotTakenForARouterOfThisHost(t *testing.T) {
	needRoot(t)
	if !routed(t, join(t, "ve-plain", "192.168.201.1/24", "192.168.201.200/24"), "ve-plain") {
		t.Error("the kernel takes nobody for a router: this shows nothing")
	}
	k := open(t, withEgress(spec.EgressAny))
	s := join(t, box.Interface, "", box.Address.String())
	if err := k.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if routed(t, s, box.Interface) {
		t.Error("this host would send by IPv6 through its machine")
	}
}
