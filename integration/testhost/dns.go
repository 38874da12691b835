package testhost

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// zone maps the names that exist outside, each with a trailing dot, to their
// addresses.
type zone map[string]netip.Addr

// serveDNS answers queries on conn until it is closed.
func (z zone) serveDNS(conn net.PacketConn) {
	query := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(query)
		if err != nil {
			return // closed
		}
		reply, err := z.answer(query[:n])
		if err != nil {
			continue // not a query: a name server says nothing to that
		}
		_, _ = conn.WriteTo(reply, from) // the client asks again when it is lost
	}
}

// answer makes the reply to one query: an address for A, nothing for any
// other type of a name that exists, NXDOMAIN for a name that does not.
func (z zone) answer(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return nil, fmt.Errorf("parse a DNS query: %w", err)
	}
	question, err := p.Question()
	if err != nil {
		return nil, fmt.Errorf("parse a DNS question: %w", err)
	}
	address, exists := z[strings.ToLower(question.Name.String())]
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true,
			RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{question},
	}
	switch {
	case !exists:
		reply.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA:
		reply.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AResource{A: address.As4()},
		}}
	}
	if err := addOPT(&p, &reply); err != nil {
		return nil, err
	}
	return reply.Pack()
}

// addOPT answers EDNS with EDNS: a resolver that hears nothing of it takes
// the server for an old one and tries again in other ways, which costs time.
func addOPT(p *dnsmessage.Parser, reply *dnsmessage.Message) error {
	if err := p.SkipAllQuestions(); err != nil {
		return fmt.Errorf("parse a DNS query: %w", err)
	}
	if err := p.SkipAllAnswers(); err != nil {
		return fmt.Errorf("parse a DNS query: %w", err)
	}
	if err := p.SkipAllAuthorities(); err != nil {
		return fmt.Errorf("parse a DNS query: %w", err)
	}
	additionals, err := p.AllAdditionals()
	if err != nil {
		return fmt.Errorf("parse a DNS query: %w", err)
	}
	for _, a := range additionals {
		if a.Header.Type != dnsmessage.TypeOPT {
			continue
		}
		var h dnsmessage.ResourceHeader
		if err := h.SetEDNS0(1232, dnsmessage.RCodeSuccess, a.Header.DNSSECAllowed()); err != nil {
			return fmt.Errorf("answer EDNS: %w", err)
		}
		reply.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	return nil
}
