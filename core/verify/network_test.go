package verify

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/net/dns/dnsmessage"
)

func question(t *testing.T, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	text, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOneNameResolvesAndNoOther(t *testing.T) {
	for _, tt := range []struct {
		name    string
		kind    dnsmessage.Type
		code    dnsmessage.RCode
		answers int
	}{
		{probeHost + ".", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 1},
		{probeHost + ".", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, 0},
		{"other.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0},
		{".", dnsmessage.TypeNS, dnsmessage.RCodeNameError, 0},
	} {
		reply, err := answer(question(t, tt.name, tt.kind))
		if err != nil {
			t.Fatal(err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		if m.ID != 4711 || !m.Response || m.RCode != tt.code || len(m.Answers) != tt.answers {
			t.Errorf("%s %s: %+v", tt.name, tt.kind, m)
		}
		if tt.answers == 1 {
			if a, ok := m.Answers[0].Body.(*dnsmessage.AResource); !ok || a.A != probeAddress.As4() {
				t.Errorf("%s: %v", tt.name, m.Answers)
			}
		}
	}
}

func TestWhatIsNoQuestionIsNotAnswered(t *testing.T) {
	reply, err := answer(question(t, probeHost+".", dnsmessage.TypeA))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{nil, {1, 2, 3}, bytes.Repeat([]byte{0xff}, 600), reply} {
		if got, err := answer(text); err == nil {
			t.Errorf("%x is answered by %x", text, got)
		}
	}
}

func TestQuestionsOverAConnectionHaveALengthBefore(t *testing.T) {
	here, there := net.Pipe()
	go func() {
		_ = converseDNS(there)
		_ = there.Close()
	}()
	_ = here.SetDeadline(time.Now().Add(10 * time.Second))
	q := question(t, probeHost+".", dnsmessage.TypeA)
	if _, err := here.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(here)
	if err != nil || len(text) < 2 || int(binary.BigEndian.Uint16(text)) != len(text)-2 {
		t.Errorf("%x, %v", text, err)
	}
}

func TestWhoeverAsksIsGivenTheOneAddress(t *testing.T) {
	hw := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	discover, err := dhcpv4.NewDiscovery(hw)
	if err != nil {
		t.Fatal(err)
	}
	offer, err := lease(discover)
	if err != nil {
		t.Fatal(err)
	}
	request, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := lease(request)
	if err != nil {
		t.Fatal(err)
	}
	for want, m := range map[dhcpv4.MessageType]*dhcpv4.DHCPv4{dhcpv4.MessageTypeOffer: offer, dhcpv4.MessageTypeAck: ack} {
		if m.MessageType() != want || !m.YourIPAddr.Equal(machineSide.Addr().AsSlice()) || m.TransactionID != discover.TransactionID ||
			len(m.DNS()) != 1 || !m.DNS()[0].Equal(hostSide.Addr().AsSlice()) || m.IPAddressLeaseTime(0) == 0 {
			t.Errorf("want %s, got %s", want, m.Summary())
		}
	}
	release, err := dhcpv4.NewReleaseFromACK(ack)
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := lease(release); reply != nil || err != nil {
		t.Errorf("a release is answered by %v, %v", reply, err)
	}
}
