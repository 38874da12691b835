package testhost

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

func TestTheOutsideAnswersForItsNamesOnly(t *testing.T) {
	z := zone{"outside.test.": netip.MustParseAddr("203.0.113.1")}
	type reply struct {
		RCode     dnsmessage.RCode
		Addresses []string
		EDNS      bool
	}
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		edns bool
		want reply
	}{
		{"outside.test.", dnsmessage.TypeA, false, reply{Addresses: []string{"203.0.113.1"}}},
		{"Outside.TEST.", dnsmessage.TypeA, true, reply{Addresses: []string{"203.0.113.1"}, EDNS: true}},
		{"outside.test.", dnsmessage.TypeAAAA, false, reply{}},
		{"inside.test.", dnsmessage.TypeA, true, reply{RCode: dnsmessage.RCodeNameError, EDNS: true}},
		{"example.org.", dnsmessage.TypeMX, false, reply{RCode: dnsmessage.RCodeNameError}},
	} {
		query := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(c.name), Type: c.kind, Class: dnsmessage.ClassINET}},
		}
		if c.edns {
			var h dnsmessage.ResourceHeader
			if err := h.SetEDNS0(1232, dnsmessage.RCodeSuccess, false); err != nil {
				t.Fatal(err)
			}
			query.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
		}
		packed, err := query.Pack()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := z.answer(packed)
		if err != nil {
			t.Fatalf("%s %s: %v", c.name, c.kind, err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil {
			t.Fatal(err)
		}
		got := reply{RCode: m.RCode, EDNS: len(m.Additionals) == 1}
		for _, a := range m.Answers {
			if a, ok := a.Body.(*dnsmessage.AResource); ok {
				got.Addresses = append(got.Addresses, netip.AddrFrom4(a.A).String())
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || m.ID != 7 || !m.Response {
			t.Errorf("%s %s: header %+v (-want +got):\n%s", c.name, c.kind, m.Header, diff)
		}
	}
}

func TestGarbageIsNotAnswered(t *testing.T) {
	for _, query := range []string{"", "x", "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff"} {
		if got, err := (zone{}).answer([]byte(query)); err == nil {
			t.Errorf("%q: answered %x", query, got)
		}
	}
}
