package addr

import (
	"fmt"
	"net/netip"

	"go4.org/netipx"
)

// Explicit is the subnet of --address and --gateway: address is the machine's
// with the length of the network, gateway the host's end. The zero gateway
// means the first address of the network.
func Explicit(address netip.Prefix, gateway netip.Addr) (Subnet, error) {
	if err := usable(address); err != nil {
		return Subnet{}, err
	}
	network := address.Masked()
	if !gateway.IsValid() {
		gateway = network.Addr().Next()
	}
	if !network.Contains(gateway) {
		return Subnet{}, &InvalidError{
			What: fmt.Sprintf("gateway %s is not in %s, the network of address %s", gateway, network, address),
			Do:   fmt.Sprintf("use an address of %s, such as %s", network, network.Addr().Next()),
		}
	}
	if gateway == address.Addr() {
		return Subnet{}, &InvalidError{
			What: fmt.Sprintf("machine and host cannot both be %s", gateway),
			Do:   fmt.Sprintf("pass --gateway with another address of %s", network),
		}
	}
	if err := usable(netip.PrefixFrom(gateway, address.Bits())); err != nil {
		return Subnet{}, err
	}
	return Subnet{Host: netip.PrefixFrom(gateway, address.Bits()), Machine: address}, nil
}

// Conflict returns a *ConflictError when the network of p overlaps one of
// taken: the subnets of other machines, the host's routes and addresses.
func Conflict(p netip.Prefix, taken []netip.Prefix) error {
	p = plain(p)
	for _, t := range taken {
		if t = plain(t); occupies(t) && t.Overlaps(p) {
			return &ConflictError{Wanted: p, With: t}
		}
	}
	return nil
}

// usable says why p cannot be the address of one end of a link.
func usable(p netip.Prefix) error {
	const narrowest, widest = 30, 8
	a := p.Addr()
	switch network := p.Masked(); {
	case !p.IsValid() || !a.Is4():
		return &InvalidError{
			What: fmt.Sprintf("%s is not an IPv4 address with a length", p),
			Do:   "use the form 192.168.200.200/24",
		}
	case p.Bits() > narrowest || p.Bits() < widest:
		return &InvalidError{
			What: fmt.Sprintf("%s: a link needs a network of /%d to /%d", p, widest, narrowest),
			Do:   fmt.Sprintf("use %s/24", a),
		}
	case a == network.Addr() || a == lastOf(p):
		return &InvalidError{
			What: fmt.Sprintf("%s is the network's or the broadcast address of %s", a, network),
			Do:   fmt.Sprintf("use an address between, such as %s", network.Addr().Next()),
		}
	case a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || !unicast(a):
		return &InvalidError{
			What: fmt.Sprintf("%s cannot be the address of a machine", a),
			Do:   "use a private network: 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
		}
	}
	return nil
}

// unicast leaves out 0.0.0.0/8 and 240.0.0.0/4, which Linux does not route.
func unicast(a netip.Addr) bool {
	first := a.As4()[0]
	return first > 0 && first < 240
}

func lastOf(p netip.Prefix) netip.Addr { return netipx.PrefixLastIP(p) }
