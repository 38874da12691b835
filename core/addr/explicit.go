package addr

import (
	"net/netip"

	"go4.org/netipx"
)

// Explicit is the subnet of --address and --gateway, which core/spec has
// checked: address is the machine's, gateway the host's end. Without a gateway
// the host takes the lowest address that is not the machine's own.
func Explicit(address netip.Prefix, gateway netip.Addr) Subnet {
	if !gateway.IsValid() {
		gateway = address.Masked().Addr().Next()
		if gateway == address.Addr() {
			gateway = gateway.Next()
		}
	}
	return Subnet{Host: netip.PrefixFrom(gateway, address.Bits()), Machine: address}
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

func lastOf(p netip.Prefix) netip.Addr { return netipx.PrefixLastIP(p) }
