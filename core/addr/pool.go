package addr

import (
	"fmt"
	"net/netip"

	"go4.org/netipx"
)

const (
	subnetBits  = 24
	hostOctet   = 1   // the host's end, which is the machine's gateway
	guestOctet  = 200 // the machine's end
	routedWhole = 8   // a route shorter than this is a default route, or a piece of one
)

// Pool is the range of /24 subnets that machines are given, both ends
// included.
type Pool struct {
	First, Last netip.Prefix
}

// DefaultPool is used where nothing else is configured: 192.168.200.0/24 to
// 192.168.254.0/24, 55 machines.
func DefaultPool() Pool {
	return Pool{
		First: netip.MustParsePrefix("192.168.200.0/24"),
		Last:  netip.MustParsePrefix("192.168.254.0/24"),
	}
}

// NewPool makes a pool of the /24 subnets from the one that first is the
// network address of to that of last.
func NewPool(first, last netip.Addr) (Pool, error) {
	p := Pool{First: netip.PrefixFrom(first, subnetBits), Last: netip.PrefixFrom(last, subnetBits)}
	return p, p.check()
}

// String gives both ends.
func (p Pool) String() string { return fmt.Sprintf("%s to %s", p.First, p.Last) }

func (p Pool) check() error {
	for _, end := range []netip.Prefix{p.First, p.Last} {
		if !end.Addr().Is4() || end.Bits() != subnetBits || end != end.Masked() {
			return &InvalidError{
				What: fmt.Sprintf("pool end %s is not the network address of an IPv4 /24", end),
				Do:   "name network addresses, such as 192.168.200.0",
			}
		}
	}
	if p.Last.Addr().Less(p.First.Addr()) {
		return &InvalidError{
			What: fmt.Sprintf("pool %s runs backwards", p),
			Do:   "name the lower end first",
		}
	}
	return nil
}

// Subnet is what host and machine call themselves on the link between them.
// Both have the same network part.
type Subnet struct {
	Host    netip.Prefix // the host's address, such as 192.168.200.1/24
	Machine netip.Prefix // the machine's, such as 192.168.200.200/24
}

// Prefix is the network that both ends are in.
func (s Subnet) Prefix() netip.Prefix { return s.Host.Masked() }

// Allocate returns the first subnet of the pool that overlaps nothing: neither
// used, the subnets of other machines, nor taken, the host's own routes and
// addresses. The default route, which covers everything, takes nothing; nor do
// the two or more pieces of one that VPNs set instead of it.
//
// When none is left the error is an *ExhaustedError.
func (p Pool) Allocate(used, taken []netip.Prefix) (Subnet, error) {
	if err := p.check(); err != nil {
		return Subnet{}, err
	}
	var b netipx.IPSetBuilder
	for _, list := range [][]netip.Prefix{used, taken} {
		for _, q := range list {
			if q = plain(q); occupies(q) {
				b.AddPrefix(q)
			}
		}
	}
	occupied, err := b.IPSet()
	if err != nil {
		return Subnet{}, fmt.Errorf("collect the subnets in use: %w", err)
	}
	for c := p.First; ; c = next(c) {
		if !occupied.OverlapsPrefix(c) {
			return halves(c), nil
		}
		if c == p.Last {
			return Subnet{}, exhausted(p, used, taken)
		}
	}
}

func halves(network netip.Prefix) Subnet {
	o := network.Addr().As4()
	at := func(last byte) netip.Prefix {
		o[3] = last
		return netip.PrefixFrom(netip.AddrFrom4(o), network.Bits())
	}
	return Subnet{Host: at(hostOctet), Machine: at(guestOctet)}
}

func next(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(netipx.PrefixLastIP(p).Next(), p.Bits())
}

// plain is p as IPv4 where it was given as ::ffff:a.b.c.d, without host part.
func plain(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// occupies says whether p claims its addresses, rather than merely routing
// everything that nobody else claims.
func occupies(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is4() && p.Bits() >= routedWhole
}
