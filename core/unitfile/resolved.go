package unitfile

import "net/netip"

// ResolvedStub makes the host's systemd-resolved answer on the link of one
// machine too, as /etc/systemd/resolved.conf.d/50-nspawn-build-NAME.conf; see
// DNSStubListenerExtra= in resolved.conf(5), since systemd 247.
type ResolvedStub struct {
	Machine string
	Address netip.Addr // the host's, on the link
}

// Render returns the file.
func (r ResolvedStub) Render() ([]byte, error) {
	if !r.Address.Is4() {
		return nil, &ValueError{"DNSStubListenerExtra", r.Address.String(), "is not an IPv4 address"}
	}
	var f file
	f.in("Resolve")
	f.set("DNSStubListenerExtra", r.Address.String())
	return f.render(r.Machine)
}

// Resolver names the servers that a machine's systemd-resolved asks, on
// whatever link, as /etc/systemd/resolved.conf.d/50-nspawn-build.conf in its
// tree. Servers of a link, as MachineNetwork names them, are asked through a
// socket that is bound to it and freed again, which takes CAP_NET_RAW.
type Resolver struct {
	Servers []netip.Addr
}

// Render returns the file.
func (r Resolver) Render() ([]byte, error) {
	var f file
	f.in("Resolve")
	for _, server := range r.Servers {
		if !server.IsValid() || server.Zone() != "" {
			return nil, &ValueError{"DNS", server.String(), "is not the address of a server"}
		}
		f.set("DNS", server.String())
	}
	return f.render("")
}
