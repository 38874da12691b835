package verify

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
)

// The addresses of every run: those that are for documentation (RFC 5737), which
// no image can have a use of its own for.
var (
	hostSide    = netip.MustParsePrefix("192.0.2.1/24")
	machineSide = netip.MustParsePrefix("192.0.2.200/24")
)

// serveDHCP gives the machine on the link its address: what systemd ships for the
// link of a machine asks for one by DHCP, and so a user's machine has it.
func serveDHCP(link string) (*server4.Server, error) {
	handler := func(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
		if reply, err := lease(m); err == nil && reply != nil {
			_, _ = conn.WriteTo(reply.ToBytes(), peer) // it asks again
		}
	}
	server, err := server4.NewServer(link, &net.UDPAddr{IP: net.IPv4zero, Port: dhcpv4.ServerPort}, handler)
	if err != nil {
		return nil, fmt.Errorf("a DHCP server on %s: %w", link, err)
	}
	go func() { _ = server.Serve() }() // until it is closed, or the room ends
	return server, nil
}

// lease is what is answered: always the one address, to whoever asks; nil is
// nothing.
func lease(m *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	kind := dhcpv4.MessageTypeOffer
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
	default:
		return nil, nil //nolint:nilnil // nothing is the answer
	}
	gateway := net.IP(hostSide.Addr().AsSlice())
	return dhcpv4.NewReplyFromRequest(m,
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithServerIP(gateway),
		dhcpv4.WithYourIP(machineSide.Addr().AsSlice()),
		dhcpv4.WithNetmask(net.CIDRMask(machineSide.Bits(), 32)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(gateway)),
		dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(24*time.Hour)),
		dhcpv4.WithOption(dhcpv4.OptRouter(gateway)),
		dhcpv4.WithOption(dhcpv4.OptDNS(gateway)),
	)
}
