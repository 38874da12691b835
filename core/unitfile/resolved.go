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
