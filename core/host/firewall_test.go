package host

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// sent is what a machine sends.
var sent = packet{
	in: "ve-box", out: "eth0", source: netip.MustParseAddr("192.168.200.200"), destination: somewhere,
	sourcePort: 40000, destinationPort: 443,
}

// abroad is the way of it.
var abroad = Way{Purpose: Beyond, link: "ve-box", machine: sent.source, packets: []packet{sent}}

func TestTheLegacyIptablesAreJudgedAsTheKernelDoes(t *testing.T) {
	const docker = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
`
	for _, c := range []struct {
		name, text string
		out, back  bool // dropped
		doubtful   bool
		by         Firewall
	}{
		{name: "nothing", text: "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"},
		{name: "a policy", text: "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n", out: true, back: true, by: IPTables},
		{name: "Docker", text: docker + "-A DOCKER-USER -j RETURN\nCOMMIT\n", out: true, back: true, by: Docker},
		{
			name: "Docker, mended",
			text: docker + "-A DOCKER-USER -i ve-+ -j ACCEPT\n-A DOCKER-USER -o ve-+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n",
		},
		{name: "answers only", text: docker + "-A DOCKER-USER -i ve-+ -j ACCEPT\nCOMMIT\n", back: true, by: Docker},
		{name: "by subnet", text: "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -s 192.168.200.0/24 -j ACCEPT\n-A FORWARD -d 192.168.200.200/32 -j ACCEPT\n"},
		{name: "another subnet", text: "*filter\n:FORWARD DROP [0:0]\n-A FORWARD ! -s 192.168.0.0/16 -j ACCEPT\n", out: true, by: IPTables},
		{name: "a quoted comment", text: "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m comment --comment \"all -j DROP of it\" -j ACCEPT\n"},
		{name: "a mark", text: "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m mark --mark 0x1 -j ACCEPT\n", out: true, back: true, doubtful: true, by: IPTables},
		{name: "another protocol", text: "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p icmp -j ACCEPT\n", out: true, back: true, by: IPTables},
		{name: "a log and a reject", text: "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j LOG\n-A FORWARD -i ve-box -j REJECT --reject-with icmp-port-unreachable\n", out: true, by: IPTables},
		{name: "goto", text: "*filter\n:FORWARD DROP [0:0]\n:own - [0:0]\n-A FORWARD -g own\n-A FORWARD -j ACCEPT\n-A own -i other -j ACCEPT\n", out: true, back: true, by: IPTables},
		{name: "ufw", text: "*filter\n:FORWARD DROP [0:0]\n:ufw-user-forward - [0:0]\n:ufw-before-forward - [0:0]\n-A FORWARD -j ufw-before-forward\n-A FORWARD -j ufw-user-forward\n-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", out: true, by: UFW},
	} {
		b, blocked := parseSaved(c.text, forwarded).blocks(abroad)
		if blocked != (c.out || c.back) || b.Out != c.out || b.Back != c.back || b.Doubtful != c.doubtful || b.Firewall != c.by {
			t.Errorf("%s: got %+v, %v", c.name, b, blocked)
		}
	}
}

func TestNftablesAreJudgedAsTheKernelDoes(t *testing.T) {
	code := func(verdict uint32) []byte { // as the kernel writes NFTA_VERDICT_CODE
		b := binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, 8), 1)
		return binary.BigEndian.AppendUint32(b, verdict)
	}
	name := func(s string) []byte { return linkBytes(s) }
	sets := map[string]set{
		"links":  {known: true, elements: []nftables.SetElement{{Key: name("lan0")}, {Key: name("ve-box")}}},
		"ranges": {known: true, interval: true, elements: []nftables.SetElement{{Key: []byte{192, 168, 200, 0}}, {Key: []byte{192, 168, 201, 0}, IntervalEnd: true}}},
		"states": {known: true, elements: []nftables.SetElement{
			{Key: binary.NativeEndian.AppendUint32(nil, stateNew), Val: code(0)},
			{Key: binary.NativeEndian.AppendUint32(nil, stateEstablished), Val: code(1)},
		}},
	}
	in := &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}
	source := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}
	state := &expr.Ct{Key: expr.CtKeySTATE, Register: 1}
	for _, c := range []struct {
		name  string
		exprs []expr.Any
		match answer
		kind  verdictKind
	}{
		{"a link", []expr.Any{in, &expr.Cmp{Register: 1, Data: name("ve-box")}, &expr.Verdict{Kind: expr.VerdictAccept}}, yes, accept},
		{"the beginning of a link's name", []expr.Any{in, &expr.Cmp{Register: 1, Data: []byte("ve-")}, &expr.Verdict{Kind: expr.VerdictAccept}}, yes, accept},
		{"another link", []expr.Any{in, &expr.Cmp{Register: 1, Data: name("ve-bo")}, &expr.Verdict{Kind: expr.VerdictAccept}}, no, passOn},
		{"all but a link", []expr.Any{in, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name("ve-box")}, &expr.Verdict{Kind: expr.VerdictDrop}}, no, passOn},
		{"a set of links", []expr.Any{in, &expr.Lookup{SourceRegister: 1, SetName: "links"}, &expr.Verdict{Kind: expr.VerdictAccept}}, yes, accept},
		{"not of a set", []expr.Any{in, &expr.Lookup{SourceRegister: 1, SetName: "links", Invert: true}, &expr.Verdict{Kind: expr.VerdictDrop}}, no, passOn},
		{"a range of addresses", []expr.Any{source, &expr.Lookup{SourceRegister: 1, SetName: "ranges"}, &expr.Verdict{Kind: expr.VerdictDrop}}, yes, drop},
		{"a verdict map", []expr.Any{state, &expr.Lookup{SourceRegister: 1, IsDestRegSet: true, SetName: "states"}}, yes, drop},
		{
			"a state", []expr.Any{
				state, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, stateNew), Xor: make([]byte, 4)},
				&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)}, &expr.Reject{},
			}, yes, drop,
		},
		{
			"a state, as iptables asks", []expr.Any{
				&expr.Match{Name: "conntrack", Info: &xt.ConntrackMtinfo3{ConntrackMtinfo2: xt.ConntrackMtinfo2{
					ConntrackMtinfoBase: xt.ConntrackMtinfoBase{MatchFlags: uint16(xt.ConntrackState)}, StateMask: stateEstablished,
				}}}, &expr.Verdict{Kind: expr.VerdictAccept},
			}, no, passOn,
		},
		{"a mark", []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, &expr.Cmp{Register: 1, Data: make([]byte, 4)}, &expr.Verdict{Kind: expr.VerdictAccept}}, perhaps, accept},
		{"a set that is not there", []expr.Any{in, &expr.Lookup{SourceRegister: 1, SetName: "other"}, &expr.Verdict{Kind: expr.VerdictAccept}}, perhaps, accept},
		{"what is not known here", []expr.Any{in, &expr.Numgen{Register: 1}, &expr.Cmp{Register: 1, Data: name("ve-box")}, &expr.Verdict{Kind: expr.VerdictAccept}}, perhaps, accept},
		{"a counter", []expr.Any{&expr.Counter{}}, yes, passOn},
	} {
		match, v := nftRule{c.exprs, sets}.judge(sent)
		if match != c.match || v.kind != c.kind {
			t.Errorf("%s: got %v, %v", c.name, match, v)
		}
	}
}

func FuzzSavedRules(f *testing.F) {
	f.Add("*filter\n:FORWARD DROP [0:0]\n-A FORWARD ! -i ve-+ -j own\n:own - [0:0]\n-A own -g own\n")
	f.Fuzz(func(_ *testing.T, text string) {
		parseSaved(text, forwarded).blocks(abroad) // neither panics nor runs forever
	})
}
