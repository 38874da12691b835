package spec

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Egress is what a machine may reach through its link.
type Egress string

// The kinds of egress.
const (
	EgressAny Egress = "" // whatever this host reaches, and the host itself
	// EgressInternet is everything but the host, its networks and every
	// private range; the DNS servers that the machine was given are let through.
	EgressInternet Egress = "internet"
	// EgressNone is nothing: only who was called from outside may answer.
	EgressNone Egress = "none"
)

// HostNetwork is what configures the host's end of a machine's link.
type HostNetwork string

// The ways.
const (
	HostNetworkAuto     HostNetwork = ""         // networkd where it runs
	HostNetworkNetworkd HostNetwork = "networkd" // the host's systemd-networkd
	HostNetworkBuiltin  HostNetwork = "builtin"  // nspawn-build itself
)

// Publish makes a port of the machine reachable under a port of the host.
type Publish struct {
	Protocol string `json:"protocol"` // tcp or udp
	// Address is the host's that is listened on; zero means all of them.
	Address netip.Addr `json:"address,omitzero"`
	Host    uint16     `json:"host"`
	Machine uint16     `json:"machine"`
}

// String is the form of the flag: 127.0.0.1:8080:80/udp.
func (p Publish) String() string {
	s := fmt.Sprintf("%d:%d", p.Host, p.Machine)
	if p.Address.IsValid() {
		s = p.Address.String() + ":" + s
	}
	if p.Protocol == "udp" {
		s += "/udp"
	}
	return s
}

// Same reports whether two take the same port of the host.
func (p Publish) Same(o Publish) bool {
	return p.Protocol == o.Protocol && p.Host == o.Host &&
		(p.Address == o.Address || !p.Address.IsValid() || !o.Address.IsValid())
}

// ParsePublish reads [ADDRESS:]HOST:MACHINE[/tcp|/udp]; one number alone is
// both ports.
func ParsePublish(s string) (Publish, *FieldError) {
	bad := func(problem string) (Publish, *FieldError) {
		return Publish{}, &FieldError{"network.publish", s, problem, "write HOST:MACHINE, such as 8080:80, 127.0.0.1:8080:80 or 53:53/udp"}
	}
	ports, protocol, given := strings.Cut(s, "/")
	if !given {
		protocol = "tcp"
	}
	if protocol != "tcp" && protocol != "udp" {
		return bad("names a protocol other than tcp and udp")
	}
	p := Publish{Protocol: protocol}
	parts := strings.Split(ports, ":")
	if len(parts) == 3 {
		a, err := netip.ParseAddr(parts[0])
		if err != nil || !a.Is4() || a.IsMulticast() {
			return bad("does not begin with an IPv4 address of this host")
		}
		if !a.IsUnspecified() {
			p.Address = a
		}
		parts = parts[1:]
	}
	if len(parts) == 1 {
		parts = append(parts, parts[0])
	}
	if len(parts) != 2 {
		return bad("is not a pair of ports")
	}
	for i, to := range []*uint16{&p.Host, &p.Machine} {
		n, err := strconv.ParseUint(parts[i], 10, 16)
		if err != nil || n == 0 {
			return bad("is not a pair of ports from 1 to 65535")
		}
		*to = uint16(n)
	}
	return p, nil
}

func (b *build) reach(in Input) {
	n := &b.spec.Network
	n.Private, n.Alias = in.PrivateNetwork, in.Alias
	for _, s := range in.Publish {
		p, e := ParsePublish(s)
		b.note(e)
		if e == nil && slices.ContainsFunc(n.Publish, p.Same) {
			b.note(&FieldError{"network.publish", s, "takes a port of the host that another one takes", "publish each port of the host once"})
		}
		n.Publish = append(n.Publish, p)
	}
	switch in.Egress {
	case "", "any":
	case string(EgressInternet), string(EgressNone):
		n.Egress = Egress(in.Egress)
	default:
		b.note(&FieldError{"network.egress", in.Egress, "is not a kind of egress", "use any, internet or none"})
	}
	switch in.HostNetwork {
	case "", "auto":
	case string(HostNetworkNetworkd), string(HostNetworkBuiltin):
		n.Host = HostNetwork(in.HostNetwork)
	default:
		b.note(&FieldError{"network.host", in.HostNetwork, "is not a way to configure the link", "use auto, networkd or builtin"})
	}
}
