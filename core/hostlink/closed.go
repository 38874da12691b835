package hostlink

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
)

// reserved are the addresses that are nobody's on the internet, whatever this
// host's routes say: those of RFC 6890 and its successors that can lead to
// somebody nearby. The blocks for documentation are left out, for no network
// has them.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared by carriers, and Tailscale's
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("168.63.129.16/32"), // Azure answers there from the host below
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local, and the metadata of most clouds
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("224.0.0.0/4"), // multicast
	netip.MustParsePrefix("240.0.0.0/4"), // reserved, and broadcast
}

// shortest is the length of the shortest route that leads to a network. VPNs
// that take over all traffic set two or more shorter ones in place of a default
// route.
const shortest = 8

// ranges are addresses, sorted and apart from each other.
type ranges []netipx.IPRange

// closedRanges are reserved and every network that this host has a route to,
// in any table, or an address in: its LANs, its VPNs, its containers.
func closedRanges() (ranges, error) {
	var b netipx.IPSetBuilder
	for _, p := range reserved {
		b.AddPrefix(p)
	}
	add := func(n *net.IPNet) {
		if n == nil {
			return
		}
		if a, ok := netip.AddrFromSlice(n.IP.To4()); ok {
			if bits, _ := n.Mask.Size(); bits >= shortest {
				b.AddPrefix(netip.PrefixFrom(a, bits).Masked())
			}
		}
	}
	addrs, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return nil, fmt.Errorf("listing this host's addresses: %w", err)
	}
	for _, a := range addrs {
		add(a.IPNet)
		add(a.Peer)
	}
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("listing this host's routes: %w", err)
	}
	for _, r := range routes {
		add(r.Dst)
		// A gateway can be reached without a route of its own (onlink).
		if gw, ok := netip.AddrFromSlice(r.Gw.To4()); ok {
			b.Add(gw)
		}
		for _, hop := range r.MultiPath {
			if gw, ok := netip.AddrFromSlice(hop.Gw.To4()); ok {
				b.Add(gw)
			}
		}
	}
	set, err := b.IPSet()
	if err != nil {
		return nil, fmt.Errorf("collecting this host's networks: %w", err)
	}
	return set.Ranges(), nil
}

// chunk is how many ranges fit into one message to the kernel, with room.
const chunk = 256

// addTo adds the ranges to a set: each is its first address and the one after
// its last.
func (r ranges) addTo(c *nftables.Conn, set *nftables.Set) {
	for begin := 0; begin < len(r); begin += chunk {
		var elements []nftables.SetElement
		for _, one := range r[begin:min(begin+chunk, len(r))] {
			elements = append(elements, nftables.SetElement{Key: one.From().AsSlice()})
			if after := one.To().Next(); after.IsValid() {
				elements = append(elements, nftables.SetElement{Key: after.AsSlice(), IntervalEnd: true})
			}
		}
		_ = c.SetAddElements(set, elements) // fails for anonymous sets alone
	}
}
