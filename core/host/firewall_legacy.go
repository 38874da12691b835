package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// legacyTables names the tables that the old iptables has in use. It is looked
// at first: asking iptables itself would load its modules.
const legacyTables = "/proc/net/ip_tables_names"

// readLegacy reads the old iptables, of which nftables knows nothing. Where
// they are in use and no program can read them, nothing can be said.
func readLegacy() ([]ruleset, error) {
	names, err := os.ReadFile(legacyTables)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the firewall: %w", err)
	}
	if !slices.Contains(strings.Fields(string(names)), "filter") {
		return nil, nil
	}
	program, err := exec.LookPath("iptables-legacy-save")
	if err != nil {
		return nil, nil //nolint:nilerr // see above
	}
	text, err := exec.Command(program, "-t", "filter").Output()
	if err != nil {
		return nil, fmt.Errorf("reading the firewall: %s: %w", program, err)
	}
	return []ruleset{parseSaved(string(text), forwarded), parseSaved(string(text), received)}, nil
}

// parseSaved reads what iptables-save prints of the filter table, for one hook.
func parseSaved(text string, at hook) ruleset {
	s := ruleset{hook: at, table: "filter", base: legacyBase[at], legacy: true, chains: map[string][]rule{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if chain, ok := strings.CutPrefix(line, ":"); ok {
			fields := append(strings.Fields(chain), "", "")
			s.chains[fields[0]] = []rule{}
			s.policyDrop = s.policyDrop || fields[0] == s.base && fields[1] == "DROP"
		}
		if rest, ok := strings.CutPrefix(line, "-A "); ok {
			chain, words, _ := strings.Cut(rest, " ")
			s.chains[chain] = append(s.chains[chain], parseSavedRule(words))
		}
	}
	for chain, rules := range s.chains {
		for i, r := range rules {
			saved, ok := r.(savedRule)
			if _, own := s.chains[saved.verdict.chain]; ok && saved.verdict.kind == jumpTo && !own {
				saved.verdict = verdict{} // LOG, MARK and the like
				s.chains[chain][i] = saved
			}
		}
	}
	return s
}

// savedRule is a rule as iptables-save writes it.
type savedRule struct {
	conditions []func(packet) answer
	verdict    verdict
}

func (r savedRule) judge(p packet) (answer, verdict) {
	a := yes
	for _, c := range r.conditions {
		a = min(a, c(p))
	}
	return a, r.verdict
}

func parseSavedRule(line string) savedRule {
	var r savedRule
	invert := false
	words := quotedFields(line)
	for i := 0; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		not := invert
		add := func(c func(packet) answer) {
			r.conditions = append(r.conditions, func(p packet) answer { return inverted(c(p), not) })
			i++
		}
		switch words[i] {
		case "!":
			invert = true
			continue
		case "-i":
			add(func(p packet) answer { return named(p.in, value) })
		case "-o":
			add(func(p packet) answer { return named(p.out, value) })
		case "-s":
			add(func(p packet) answer { return within(p.source, value) })
		case "-d":
			add(func(p packet) answer { return within(p.destination, value) })
		case "-p":
			add(func(p packet) answer { return ofProtocol(p, value) })
		case "--sport", "--sports":
			add(func(p packet) answer { return inPorts(p.sourcePort, value) })
		case "--dport", "--dports":
			add(func(p packet) answer { return inPorts(p.destinationPort, value) })
		case "--dst-type":
			add(func(p packet) answer { return ofKind(p, value) })
		case "--ctstate", "--state":
			add(func(p packet) answer { return inState(p, value) })
		case "-m":
			i++ // its options say what it asks
		case "--comment":
			i++
		case "-j", "-g":
			r.verdict = savedVerdict(words[i], value)
			i++
		case "--reject-with":
			i++
		default:
			if strings.HasPrefix(words[i], "-") {
				r.conditions = append(r.conditions, func(packet) answer { return perhaps })
			}
		}
		invert = false
	}
	return r
}

func savedVerdict(how, target string) verdict {
	switch target {
	case "ACCEPT":
		return verdict{kind: accept}
	case "DROP", "REJECT":
		return verdict{kind: drop}
	case "RETURN":
		return verdict{kind: goBack}
	}
	if how == "-g" {
		return verdict{goTo, target}
	}
	return verdict{jumpTo, target}
}

// quotedFields splits at spaces that are not in double quotes.
func quotedFields(s string) []string {
	quoted := false
	return strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}

func truth(b bool) answer {
	if b {
		return yes
	}
	return no
}

// named compares the name of a link with one that may end in +.
func named(link, pattern string) answer {
	if prefix, open := strings.CutSuffix(pattern, "+"); open {
		return truth(strings.HasPrefix(link, prefix))
	}
	return truth(link == pattern)
}

func within(a netip.Addr, network string) answer {
	if p, err := netip.ParsePrefix(network); err == nil {
		return truth(p.Contains(a))
	}
	if b, err := netip.ParseAddr(network); err == nil {
		return truth(a == b)
	}
	return perhaps
}

func inState(p packet, states string) answer {
	listed := strings.Split(states, ",")
	want := "NEW"
	if p.established {
		want = "ESTABLISHED"
	}
	return truth(slices.Contains(listed, want) || p.led != 0 && slices.Contains(listed, "DNAT"))
}

func ofProtocol(p packet, name string) answer {
	want := "tcp"
	if p.udp {
		want = "udp"
	}
	return truth(name == want || name == "all")
}

// inPorts looks a port up in a list of ports and of ranges such as 80:90.
func inPorts(port uint16, listed string) answer {
	for one := range strings.SplitSeq(listed, ",") {
		first, last, isRange := strings.Cut(one, ":")
		if !isRange {
			last = first
		}
		low, err := strconv.ParseUint(first, 10, 16)
		high, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil {
			return perhaps
		}
		if uint64(port) >= low && uint64(port) <= high {
			return yes
		}
	}
	return no
}

// ofKind judges by what kind of address a packet goes to.
func ofKind(p packet, kinds string) answer {
	kind := "UNICAST"
	if p.local() {
		kind = "LOCAL"
	}
	return truth(slices.Contains(strings.Split(kinds, ","), kind))
}
