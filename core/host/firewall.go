package host

import (
	"fmt"
	"slices"
	"strings"
)

// Firewall is what made a rule set: who must be told to let machines through.
type Firewall string

// The firewalls that are known by what their rules look like.
const (
	Docker    Firewall = "Docker"
	UFW       Firewall = "ufw"
	Firewalld Firewall = "firewalld"
	IPTables  Firewall = "iptables"
	NFTables  Firewall = "nftables"
)

// Blockade is a place where this host drops what it is to let through for a
// machine. An accept in another table cannot undo it: whoever drops must be
// told.
type Blockade struct {
	Way      Way // that which is blocked
	Firewall Firewall
	Where    string // "chain FORWARD of table ip filter"
	// Out and Back say which direction is blocked: what begins a connection,
	// and the answers to it.
	Out, Back bool
	// Doubtful says that a rule which could not be judged, for a mark say,
	// may yet let the packets through.
	Doubtful bool
	// Mend are commands that open the way, to be run by a shell.
	Mend []string
}

// String is one line: who drops what, and where.
func (b Blockade) String() string {
	return fmt.Sprintf("%s drops %s (%s)", b.Firewall, b.Way.lost(b.Out, b.Back), b.Where)
}

// Blockades are the places at which a machine's packets are dropped, for each
// of the ways that it needs. Empty means that all are open.
func Blockades(ways ...Way) ([]Blockade, error) {
	if len(ways) == 0 {
		return nil, nil
	}
	// Either table may drop what the other accepts.
	sets, err := readNFTables()
	if err != nil {
		return nil, err
	}
	legacy, err := readLegacy()
	if err != nil {
		return nil, err
	}
	sets = append(sets, legacy...)
	var found []Blockade
	for _, w := range ways {
		for _, s := range sets {
			if b, blocked := s.blocks(w); blocked {
				found = append(found, b)
			}
		}
	}
	return found, nil
}

// blocks sends what a way is for through a chain, and the answer. What this
// host itself answers is not passed on: no chain that is looked at sees it.
func (s ruleset) blocks(w Way) (Blockade, bool) {
	b := Blockade{Way: w, Where: s.where()}
	if s.hook != w.hook() {
		return b, false
	}
	for i, out := range w.packets {
		there, here := s.judge(out), fate{}
		if s.hook == forwarded {
			here = s.judge(out.answer())
		}
		if !there.dropped && !here.dropped {
			return b, false
		}
		if i == 0 {
			b.Out, b.Back = there.dropped, here.dropped
		}
		b.Doubtful = b.Doubtful || there.dropped && there.doubtful || here.dropped && here.doubtful
	}
	b.Firewall = s.owner()
	b.Mend = s.mend(b)
	return b, true
}

func (s ruleset) where() string {
	if s.legacy {
		return "chain " + s.base + " of the legacy iptables"
	}
	return fmt.Sprintf("chain %s of table %s %s", s.base, s.family, s.table)
}

// owner tells by the chains who made a rule set. ufw comes before Docker: its
// rule outlasts a reboot and counts for both.
func (s ruleset) owner() Firewall {
	has := func(prefix string) bool {
		return slices.ContainsFunc(s.names(), func(n string) bool { return strings.HasPrefix(n, prefix) })
	}
	switch {
	case s.table == "firewalld" || has("FWDI_") || has("FORWARD_IN_ZONES"):
		return Firewalld
	case has("ufw-"):
		return UFW
	case has("DOCKER-USER") && s.hook == forwarded: // it drops nothing else
		return Docker
	case s.legacy || s.table == "filter" && s.base == legacyBase[s.hook]:
		return IPTables
	}
	return NFTables
}
