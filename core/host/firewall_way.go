package host

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Purpose is what a way through the firewalls is for.
type Purpose string

// What machines need of this host's firewalls.
const (
	Beyond    Purpose = "beyond"    // to reach the world, and be answered
	Names     Purpose = "names"     // to ask this host for names
	Published Purpose = "published" // to be reached by others on a published port
)

// Way is something that this host's firewalls are to let through for a machine.
type Way struct {
	Purpose Purpose
	link    string // the host's end of the machine's link, which need not exist yet
	machine netip.Addr
	port    Port
	packets []packet // the way is open where one of them gets through
}

// Port is a published port.
type Port struct {
	Name          string     // as it was asked for: 8080:80/udp
	Protocol      string     // tcp or udp
	Address       netip.Addr // the host's that is listened on; zero means all
	Host, Machine uint16
}

// WayBeyond is that of a machine to the world.
func WayBeyond(link string, machine netip.Addr) Way {
	return Way{Purpose: Beyond, link: link, machine: machine, packets: []packet{{
		in: link, out: uplink(link), source: machine, destination: somewhere,
		sourcePort: somePort, destinationPort: 443,
	}}}
}

// WayToNames is that of a machine's queries to this host, which answers them
// at its own address on the link.
func WayToNames(link string, machine, server netip.Addr) Way {
	return Way{Purpose: Names, link: link, machine: machine, packets: []packet{{
		in: link, source: machine, destination: server, udp: true,
		sourcePort: somePort, destinationPort: 53,
	}}}
}

// WayToPort is that of others to a port of the machine that is published, once
// they were led to the machine. A firewall may mean to let neighbours alone
// through: that is a way, too.
func WayToPort(link string, machine netip.Addr, p Port) Way {
	w := Way{Purpose: Published, link: link, machine: machine, port: p}
	in := linkWith(p.Address)
	if in == "" {
		in = uplink(link)
	}
	for _, from := range append([]netip.Addr{somewhere}, neighbours(in)...) {
		w.packets = append(w.packets, packet{
			in: in, out: link, source: from, destination: machine, udp: p.Protocol == "udp",
			sourcePort: somePort, destinationPort: p.Machine, led: p.Host,
		})
	}
	return w
}

// hook is where the way's packets are seen.
func (w Way) hook() hook {
	if w.Purpose == Names {
		return received
	}
	return forwarded
}

// lost says what is dropped on a way.
func (w Way) lost(out, back bool) string {
	switch w.Purpose {
	case Names:
		return "the queries for names that machines send this host"
	case Published:
		if !out {
			return fmt.Sprintf("the answers from the published port %s", w.port.Name)
		}
		return fmt.Sprintf("what is sent to the published port %s", w.port.Name)
	case Beyond:
	}
	switch {
	case out && back:
		return "what machines send and receive beyond this host"
	case back:
		return "the answers to what machines send beyond this host"
	}
	return "what machines send beyond this host"
}

// somePort is one from which programs send.
const somePort = 40000

// somewhere stands for the world; the RFCs set its block apart (RFC 5737).
var somewhere = netip.MustParseAddr("198.51.100.1")

// uplink is the link of the default route, or any other that is up.
func uplink(machine string) string {
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err == nil {
		for _, r := range routes {
			if r.Dst == nil || r.Dst.IP.IsUnspecified() {
				if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
					return l.Attrs().Name
				}
			}
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return ""
	}
	for _, l := range links {
		if n := l.Attrs().Name; n != "lo" && n != machine && !strings.HasPrefix(n, "ve-") && l.Attrs().OperState == netlink.OperUp {
			return n
		}
	}
	return ""
}

// linkWith is the link that has an address, empty where none has.
func linkWith(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	addrs, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return ""
	}
	for _, have := range addrs {
		if have.IP.Equal(a.AsSlice()) {
			if l, err := netlink.LinkByIndex(have.LinkIndex); err == nil {
				return l.Attrs().Name
			}
		}
	}
	return ""
}

// neighbours is an address of each network that a link leads to.
func neighbours(link string) []netip.Addr {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return nil
	}
	addrs, err := netlink.AddrList(l, unix.AF_INET)
	if err != nil {
		return nil
	}
	var found []netip.Addr
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.IPNet.String())
		if err != nil || p.IsSingleIP() {
			continue
		}
		n := p.Masked().Addr().Next()
		if n == p.Addr() {
			n = n.Next()
		}
		if p.Contains(n) {
			found = append(found, n)
		}
	}
	return found
}
