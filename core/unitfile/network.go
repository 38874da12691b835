package unitfile

import (
	"net/netip"
	"regexp"
)

// HostNetwork configures the host's end of a machine's link, as
// /etc/systemd/network/50-ve-MACHINE.network.
type HostNetwork struct {
	Machine        string
	Link           string       // the host's interface, from addr.LinkName
	Address        netip.Prefix // the host's
	SystemdVersion int          // the host's; 0 means unknown, taken as current
	// Unmanaged keeps networkd away from the link: somebody else sees to it,
	// and what systemd ships for such links is not to apply.
	Unmanaged bool
}

var linkForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$`)

// Render returns the file.
func (n HostNetwork) Render() ([]byte, error) {
	if !linkForm.MatchString(n.Link) {
		return nil, &ValueError{"Name", n.Link, "is not the name of an interface"}
	}
	if err := checkIPv4("Address", n.Address); err != nil {
		return nil, err
	}
	var f file
	f.in("Match")
	f.set("Name", n.Link)
	f.set("Driver", "veth")
	f.in("Link")
	if n.Unmanaged {
		f.set("Unmanaged", "yes")
		return f.render(n.Machine)
	}
	// The host is online without its machines: its boot does not wait for one.
	f.set("RequiredForOnline", "no")
	f.in("Network")
	f.set("Address", n.Address.String())
	// The address is there as soon as the link is, and stays while the
	// machine's end goes down and up, as it does when its networkd restarts.
	f.set("ConfigureWithoutCarrier", "yes")
	// Not "yes": an IPv4 link-local address brings a route to 169.254.0.0/16,
	// and on a cloud host the metadata service would be looked for inside
	// the machine.
	f.set("LinkLocalAddressing", "ipv6")
	f.set("DHCPServer", "no")
	f.set("IPMasquerade", masquerade(n.SystemdVersion))
	// What is in a machine is not trusted to give the host routes or names.
	f.set("IPv6AcceptRA", "no")
	f.set("LLMNR", "no")
	f.set("MulticastDNS", "no")
	f.set("LLDP", "yes")
	f.set("EmitLLDP", "customer-bridge")
	return f.render(n.Machine)
}

// masquerade is for IPv4 alone. "both" has networkd stop accepting IPv6 router
// advertisements on every link, by which hosts lost their default route
// (systemd issue 37029); before version 248 "yes" means IPv4.
func masquerade(systemd int) string {
	const namedSince = 248
	if systemd > 0 && systemd < namedSince {
		return "yes"
	}
	return "ipv4"
}

// MachineNetwork configures the machine's end of the link, as
// /etc/systemd/network/80-container-host0.network in its tree. That is the
// name of the file that systemd ships for it, which thereby is replaced.
type MachineNetwork struct {
	Address netip.Prefix // the machine's
	Gateway netip.Addr   // the host's end
	DNS     []netip.Addr // may be empty
}

// Render returns the file.
func (n MachineNetwork) Render() ([]byte, error) {
	if err := checkIPv4("Address", n.Address); err != nil {
		return nil, err
	}
	if !n.Gateway.Is4() {
		return nil, &ValueError{"Gateway", n.Gateway.String(), "is not an IPv4 address"}
	}
	var f file
	f.in("Match")
	f.set("Name", "host0")
	f.in("Link")
	f.set("RequiredForOnline", "yes")
	f.in("Network")
	f.set("DHCP", "no")
	f.set("Address", n.Address.String())
	f.set("Gateway", n.Gateway.String())
	for _, server := range n.DNS {
		if !server.IsValid() || server.Zone() != "" {
			return nil, &ValueError{"DNS", server.String(), "is not the address of a server"}
		}
		f.set("DNS", server.String())
	}
	// Listening for neighbours takes a raw socket, and where the machine may
	// have none networkd would give up the link. The host is its only neighbour.
	f.set("LLDP", "no")
	// All that the machine waits for before it is online: with a link-local
	// address networkd would sit out the check that nobody else has it, and
	// nobody on this link advertises routes.
	f.set("LinkLocalAddressing", "no")
	f.set("IPv6AcceptRA", "no")
	return f.render("")
}

func checkIPv4(name string, p netip.Prefix) error {
	if !p.IsValid() || !p.Addr().Is4() {
		return &ValueError{name, p.String(), "is not an IPv4 address with a length"}
	}
	return nil
}
