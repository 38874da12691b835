package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// families are those whose chains see IPv4 that is passed on.
var families = map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyINet: "inet"}

// ourTables is how the tables begin that nspawn-build makes: what they drop is
// meant to be.
const ourTables = "nspawn-build-"

// readNFTables reads every table that has a say in what this host passes on;
// what iptables makes of nftables is among them. A kernel without nftables has
// none.
func readNFTables() ([]ruleset, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("reading the firewall: %w", err)
	}
	all, err := c.ListChains()
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the firewall: %w", err)
	}
	var found []ruleset
	for _, base := range all {
		family, ours := families[base.Table.Family]
		if !ours || strings.HasPrefix(base.Table.Name, ourTables) || base.Hooknum == nil || *base.Hooknum != *nftables.ChainHookForward || base.Type != nftables.ChainTypeFilter {
			continue
		}
		s := ruleset{
			family: family, table: base.Table.Name, base: base.Name,
			policyDrop: base.Policy != nil && *base.Policy == nftables.ChainPolicyDrop,
			chains:     map[string][]rule{},
		}
		sets := readSets(c, base.Table)
		for _, chain := range all {
			if chain.Table.Name != base.Table.Name || chain.Table.Family != base.Table.Family {
				continue
			}
			rules, err := c.GetRules(chain.Table, chain)
			if err != nil && !errors.Is(err, os.ErrNotExist) { // gone meanwhile
				return nil, fmt.Errorf("reading the chain %s of table %s: %w", chain.Name, s.table, err)
			}
			s.chains[chain.Name] = []rule{}
			for _, r := range rules {
				s.chains[chain.Name] = append(s.chains[chain.Name], nftRule{r.Exprs, sets})
			}
		}
		found = append(found, s)
	}
	return found, nil
}

// set is a set or verdict map as rules look things up in it; known is false
// where its form is one that is not understood here.
type set struct {
	known    bool
	interval bool
	elements []nftables.SetElement
}

func readSets(c *nftables.Conn, table *nftables.Table) map[string]set {
	sets := map[string]set{}
	all, err := c.GetSets(table)
	if err != nil {
		return sets
	}
	for _, s := range all {
		elements, err := c.GetSetElements(s)
		sets[s.Name] = set{known: err == nil && !s.Concatenation, interval: s.Interval, elements: elements}
	}
	return sets
}

// find looks a key up, and tells which element has it.
func (s set) find(key []byte) (answer, *nftables.SetElement) {
	if !s.known {
		return perhaps, nil
	}
	if !s.interval {
		for i, e := range s.elements {
			if len(e.Key) <= len(key) && bytes.Equal(e.Key, key[:len(e.Key)]) {
				return yes, &s.elements[i]
			}
		}
		return no, nil
	}
	// Each element begins an interval or ends the one before: what counts is
	// the last that is not above the key.
	var last *nftables.SetElement
	for i, e := range s.elements {
		if len(e.Key) == len(key) && bytes.Compare(e.Key, key) <= 0 && (last == nil || bytes.Compare(e.Key, last.Key) > 0 ||
			bytes.Equal(e.Key, last.Key) && last.IntervalEnd) {
			last = &s.elements[i]
		}
	}
	if last == nil || last.IntervalEnd {
		return no, nil
	}
	return yes, last
}

// nftRule is a rule as the kernel runs it: a little program whose expressions
// load what is known of the packet into registers and compare them.
type nftRule struct {
	exprs []expr.Any
	sets  map[string]set
}

// run is one run of that program.
type run struct {
	packet    packet
	sets      map[string]set
	registers map[uint32][]byte // those that are known
	match     answer
	verdict   verdict
}

func (r nftRule) judge(p packet) (answer, verdict) {
	s := run{packet: p, sets: r.sets, registers: map[uint32][]byte{}, match: yes}
	for _, e := range r.exprs {
		s.step(e)
		if s.match == no {
			break
		}
	}
	return s.match, s.verdict
}

// and narrows the match down.
func (s *run) and(a answer) { s.match = min(s.match, a) }

func (s *run) step(e expr.Any) {
	switch e := e.(type) {
	case *expr.Meta:
		s.load(e.Register, metaOf(s.packet, e))
	case *expr.Payload:
		s.load(e.DestRegister, payloadOf(s.packet, e))
	case *expr.Ct:
		s.load(e.Register, trackedOf(s.packet, e))
	case *expr.Immediate:
		s.load(e.Register, e.Data)
	case *expr.Bitwise:
		s.load(e.DestRegister, masked(s.registers[e.SourceRegister], e))
	case *expr.Cmp:
		s.and(compare(s.registers[e.Register], e.Op, e.Data))
	case *expr.Range:
		low := compare(s.registers[e.Register], expr.CmpOpGte, e.FromData)
		a := min(low, compare(s.registers[e.Register], expr.CmpOpLte, e.ToData))
		s.and(inverted(a, e.Op == expr.CmpOpNeq))
	case *expr.Lookup:
		s.lookup(e)
	case *expr.Match:
		s.and(matchOf(s.packet, e))
	case *expr.Target:
		if e.Name == "REJECT" {
			s.verdict = verdict{kind: drop}
		}
	case *expr.Reject:
		s.verdict = verdict{kind: drop}
	case *expr.Verdict:
		s.verdict = verdictOf(e)
	case *expr.Queue: // a program decides
		s.and(perhaps)
		s.verdict = verdict{kind: accept}
	case *expr.Limit, *expr.Connlimit, *expr.Quota:
		s.and(perhaps)
	case *expr.Counter, *expr.Log, *expr.Masq, *expr.NAT, *expr.FlowOffload, *expr.Notrack:
	default: // it may have loaded anything
		clear(s.registers)
	}
}

func (s *run) load(register uint32, value []byte) {
	if value == nil {
		delete(s.registers, register)
		return
	}
	s.registers[register] = value
}

func (s *run) lookup(e *expr.Lookup) {
	key, known := s.registers[e.SourceRegister]
	if !known {
		s.and(perhaps)
	}
	a, element := s.sets[e.SetName].find(key)
	if !known {
		a = perhaps
	}
	s.and(inverted(a, e.Invert))
	if !e.IsDestRegSet {
		return
	}
	switch known := element != nil && a == yes; {
	case known && e.DestRegister == unix.NFT_REG_VERDICT:
		s.verdict = verdictOf(verdictIn(element.Val))
	case known:
		s.load(e.DestRegister, element.Val)
	case e.DestRegister == unix.NFT_REG_VERDICT: // perhaps it lets it through
		s.verdict = verdict{kind: accept}
	default:
		delete(s.registers, e.DestRegister)
	}
}

// verdictIn reads the verdict of an element of a map, which the library leaves
// as the kernel's attributes: NFTA_VERDICT_CODE and NFTA_VERDICT_CHAIN.
func verdictIn(attributes []byte) *expr.Verdict {
	const head = 4 // length and type, two bytes each
	v := &expr.Verdict{Kind: expr.VerdictContinue}
	for len(attributes) >= head {
		length := int(binary.NativeEndian.Uint16(attributes))
		if length < head || length > len(attributes) {
			break
		}
		value := attributes[head:length]
		switch binary.NativeEndian.Uint16(attributes[2:]) {
		case unix.NFTA_VERDICT_CODE:
			if len(value) == 4 {
				v.Kind = expr.VerdictKind(int32(binary.BigEndian.Uint32(value)))
			}
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = string(bytes.TrimRight(value, "\x00"))
		}
		attributes = attributes[min((length+3)&^3, len(attributes)):]
	}
	return v
}

func verdictOf(e *expr.Verdict) verdict {
	switch e.Kind {
	case expr.VerdictAccept:
		return verdict{kind: accept}
	case expr.VerdictDrop:
		return verdict{kind: drop}
	case expr.VerdictJump:
		return verdict{jumpTo, e.Chain}
	case expr.VerdictGoto:
		return verdict{goTo, e.Chain}
	case expr.VerdictReturn:
		return verdict{kind: goBack}
	}
	return verdict{}
}

func inverted(a answer, invert bool) answer {
	if !invert || a == perhaps {
		return a
	}
	return yes - a
}

// compare compares the beginning of what is known.
func compare(have []byte, op expr.CmpOp, want []byte) answer {
	if have == nil || len(want) > len(have) {
		return perhaps
	}
	c := bytes.Compare(have[:len(want)], want)
	holds := map[expr.CmpOp]bool{
		expr.CmpOpEq: c == 0, expr.CmpOpNeq: c != 0,
		expr.CmpOpLt: c < 0, expr.CmpOpLte: c <= 0, expr.CmpOpGt: c > 0, expr.CmpOpGte: c >= 0,
	}[op]
	if holds {
		return yes
	}
	return no
}

func masked(have []byte, e *expr.Bitwise) []byte {
	if have == nil || len(e.Mask) > len(have) || len(e.Xor) != len(e.Mask) {
		return nil
	}
	out := make([]byte, len(e.Mask))
	for i := range out {
		out[i] = have[i]&e.Mask[i] ^ e.Xor[i]
	}
	return out
}

// metaOf is what the kernel knows of a packet beside its content; nil for what
// is not known here.
func metaOf(p packet, e *expr.Meta) []byte {
	if e.SourceRegister {
		return nil
	}
	switch e.Key {
	case expr.MetaKeyIIFNAME:
		return linkBytes(p.in)
	case expr.MetaKeyOIFNAME:
		return linkBytes(p.out)
	case expr.MetaKeyIIF:
		return indexOf(p.in)
	case expr.MetaKeyOIF:
		return indexOf(p.out)
	case expr.MetaKeyNFPROTO:
		return []byte{unix.NFPROTO_IPV4}
	case expr.MetaKeyL4PROTO:
		return []byte{unix.IPPROTO_TCP}
	case expr.MetaKeyPROTOCOL:
		return binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)
	}
	return nil
}

func linkBytes(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// indexOf is 0 for a link that is not there yet: no rule can mean it.
func indexOf(name string) []byte {
	index := 0
	if l, err := net.InterfaceByName(name); err == nil {
		index = l.Index
	}
	return binary.NativeEndian.AppendUint32(nil, uint32(index))
}

func payloadOf(p packet, e *expr.Payload) []byte {
	if e.OperationType != expr.PayloadLoad {
		return nil
	}
	var header []byte
	switch e.Base {
	case expr.PayloadBaseNetworkHeader:
		header = make([]byte, 20)
		header[0], header[9] = 0x45, unix.IPPROTO_TCP
		copy(header[12:], p.source.AsSlice())
		copy(header[16:], p.destination.AsSlice())
		if e.Offset < 9 && e.Offset+e.Len > 1 { // length, identity, hops: not known
			return nil
		}
	case expr.PayloadBaseTransportHeader:
		header = binary.BigEndian.AppendUint16(nil, p.sourcePort)
		header = binary.BigEndian.AppendUint16(header, p.destinationPort)
	case expr.PayloadBaseLLHeader:
		return nil
	}
	if int(e.Offset+e.Len) > len(header) {
		return nil
	}
	return header[e.Offset : e.Offset+e.Len]
}

// The states of a connection; xtables numbers these the same way.
const (
	stateEstablished = 1 << 1
	stateNew         = 1 << 3
)

func stateOf(p packet) uint32 {
	if p.established {
		return stateEstablished
	}
	return stateNew
}

func trackedOf(p packet, e *expr.Ct) []byte {
	switch {
	case e.SourceRegister:
		return nil
	case e.Key == expr.CtKeySTATE:
		return binary.NativeEndian.AppendUint32(nil, stateOf(p))
	case e.Key == expr.CtKeySTATUS: // it was not led elsewhere
		return binary.NativeEndian.AppendUint32(nil, 0)
	}
	return nil
}

// matchOf judges the old iptables' modules that nftables runs.
func matchOf(p packet, e *expr.Match) answer {
	if e.Name == "comment" {
		return yes
	}
	if e.Name != "conntrack" {
		return perhaps
	}
	var base xt.ConntrackMtinfoBase
	var states uint32
	switch info := e.Info.(type) {
	case *xt.ConntrackMtinfo3:
		base, states = info.ConntrackMtinfoBase, uint32(info.StateMask)
	case *xt.ConntrackMtinfo2:
		base, states = info.ConntrackMtinfoBase, uint32(info.StateMask)
	case *xt.ConntrackMtinfo1:
		base, states = info.ConntrackMtinfoBase, uint32(info.StateMask)
	default:
		return perhaps
	}
	const aboutState = uint16(xt.ConntrackState | xt.ConntrackStateAlias)
	if base.MatchFlags&^aboutState != 0 {
		return perhaps
	}
	a := no
	if states&stateOf(p) != 0 {
		a = yes
	}
	return inverted(a, base.InvertFlags&uint16(xt.ConntrackState) != 0)
}
