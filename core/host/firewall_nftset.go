package host

import (
	"bytes"
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

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
