package host

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// hook is where in this host a chain sees packets.
type hook int

const (
	forwarded hook = iota // what is passed on between links
	received              // what is for this host itself
)

// legacyBase is what iptables calls the chains of a hook.
var legacyBase = map[hook]string{forwarded: "FORWARD", received: "INPUT"}

// packet is the first of a connection by TCP, or with udp by UDP; established
// makes it an answer.
type packet struct {
	in, out                     string // out is empty for what is for this host
	source, destination         netip.Addr
	sourcePort, destinationPort uint16
	udp                         bool
	led                         uint16 // the port of this host from which it was led elsewhere; 0 where it was not
	established                 bool
}

// answer is the first packet in the other direction.
func (p packet) answer() packet {
	p.in, p.out = p.out, p.in
	p.source, p.destination = p.destination, p.source
	p.sourcePort, p.destinationPort = p.destinationPort, p.sourcePort
	p.established = true
	return p
}

func (p packet) protocol() byte {
	if p.udp {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

// local tells whether a packet is for this host.
func (p packet) local() bool { return p.out == "" }

// answer says whether a rule is about a packet.
type answer int

// The answers, in the order in which two of them combine: the lower one wins.
const (
	no answer = iota
	perhaps
	yes
)

// verdictKind is what a rule does with a packet.
type verdictKind int

const (
	passOn verdictKind = iota // nothing that matters here
	accept
	drop
	jumpTo
	goTo
	goBack
)

type verdict struct {
	kind  verdictKind
	chain string // to which jumpTo and goTo lead
}

// rule is one rule of a chain, wherever it was read.
type rule interface {
	judge(p packet) (answer, verdict)
}

// ruleset is one chain that the kernel itself calls, with all chains of its
// table.
type ruleset struct {
	hook                hook
	family, table, base string
	legacy              bool // of the old iptables, which nftables does not show
	policyDrop          bool
	chains              map[string][]rule
}

func (s ruleset) names() []string {
	var names []string
	for n := range s.chains {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// fate is what becomes of a packet.
type fate struct {
	dropped  bool
	doubtful bool // a rule that may have accepted it could not be judged
}

func (s ruleset) judge(p packet) fate {
	w := walk{ruleset: s, packet: p}
	end := w.through(s.base, 0)
	if end == passOn {
		end = accept
		if s.policyDrop {
			end = drop
		}
	}
	return fate{dropped: end == drop, doubtful: w.doubtful}
}

// walk is the way of one packet.
type walk struct {
	ruleset
	packet   packet
	doubtful bool
}

// deepest is how many chains may lead to each other; the kernel allows 16.
const deepest = 16

// through returns accept or drop, or passOn where the chain came to its end.
func (w *walk) through(chain string, depth int) verdictKind {
	if depth > deepest {
		return passOn
	}
	for _, r := range w.chains[chain] {
		match, v := r.judge(w.packet)
		if match == no || v.kind == passOn {
			continue
		}
		if match == perhaps {
			w.doubtful = w.doubtful || w.mayAccept(v, depth)
			continue
		}
		switch v.kind {
		case accept, drop:
			return v.kind
		case goBack:
			return passOn
		case jumpTo:
			if end := w.through(v.chain, depth+1); end != passOn {
				return end
			}
		case goTo:
			return w.through(v.chain, depth+1)
		case passOn:
		}
	}
	return passOn
}

// mayAccept tells whether a verdict that perhaps applies would let the packet
// through.
func (w *walk) mayAccept(v verdict, depth int) bool {
	switch v.kind {
	case accept:
		return true
	case jumpTo, goTo:
		return w.through(v.chain, depth+1) == accept
	case passOn, drop, goBack:
	}
	return false
}
