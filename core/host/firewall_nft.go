package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// families are those whose chains see IPv4.
var families = map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyINet: "inet"}

// ourTables is how the tables begin that nspawn-build makes: what they drop is
// meant to be.
const ourTables = "nspawn-build-"

// readNFTables reads every table that has a say in what this host passes on or
// takes; what iptables makes of nftables is among them. A kernel without nftables has
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
		at, seen := hookOf(base)
		if !ours || !seen || strings.HasPrefix(base.Table.Name, ourTables) {
			continue
		}
		s := ruleset{
			hook: at, family: family, table: base.Table.Name, base: base.Name,
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

// hookOf tells where a chain sees packets, if that is a place that is looked at.
func hookOf(c *nftables.Chain) (at hook, seen bool) {
	switch {
	case c.Hooknum == nil || c.Type != nftables.ChainTypeFilter:
		return 0, false
	case *c.Hooknum == *nftables.ChainHookForward:
		return forwarded, true
	case *c.Hooknum == *nftables.ChainHookInput:
		return received, true
	}
	return 0, false
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

// The states of a connection; xtables numbers these the same way.
const (
	stateEstablished = 1 << 1
	stateNew         = 1 << 3
	// stateLed is what xtables adds where the target was changed.
	stateLed = 1 << 7
	// statusLed is the bit of the connection's status for it: IPS_DST_NAT.
	statusLed = 1 << 5
)
