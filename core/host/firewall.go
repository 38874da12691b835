package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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

// Blockade is a place where this host drops what it is to pass on between a
// machine and the world. An accept in another table cannot undo it: whoever
// drops must be told.
type Blockade struct {
	Firewall Firewall
	Where    string // "chain FORWARD of table ip filter"
	// Out and Back say which way is blocked: what a machine sends, and the
	// answers to it.
	Out, Back bool
	// Doubtful says that a rule which could not be judged, for a mark say,
	// may yet let the packets through.
	Doubtful bool
	// Mend are commands that open the way, to be run by a shell.
	Mend []string
}

// String is one line: who drops what, and where.
func (b Blockade) String() string {
	what := "what machines send"
	switch {
	case b.Out && b.Back:
		what = "what machines send and receive"
	case b.Back:
		what = "the answers to what machines send"
	}
	return fmt.Sprintf("%s drops %s beyond this host (%s)", b.Firewall, what, b.Where)
}

// Blockades are the places at which a connection from a machine to the world
// is dropped: link is the host's end of its link, which need not exist yet,
// and machine its address. Empty means that it passes.
func Blockades(link string, machine netip.Addr) ([]Blockade, error) {
	out := packet{
		in: link, out: uplink(link), source: machine, destination: somewhere,
		sourcePort: 40000, destinationPort: 443,
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
	var found []Blockade
	for _, s := range append(sets, legacy...) {
		if b, blocked := s.blocks(out); blocked {
			found = append(found, b)
		}
	}
	return found, nil
}

// somewhere stands for the world; the RFCs set its block apart (RFC 5737).
var somewhere = netip.MustParseAddr("198.51.100.1")

// uplink is the link of the default route, or any other that is up.
func uplink(machine string) string {
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err == nil {
		for _, r := range routes {
			if r.Dst == nil || r.Dst.IP.IsUnspecified() {
				if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
					return l.Attrs().Name
				}
			}
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return ""
	}
	for _, l := range links {
		if n := l.Attrs().Name; n != "lo" && n != machine && !strings.HasPrefix(n, "ve-") && l.Attrs().OperState == netlink.OperUp {
			return n
		}
	}
	return ""
}

// blocks sends a packet and its answer through a chain.
func (s ruleset) blocks(out packet) (Blockade, bool) {
	back := packet{
		in: out.out, out: out.in, source: out.destination, destination: out.source,
		sourcePort: out.destinationPort, destinationPort: out.sourcePort, established: true,
	}
	b := Blockade{Where: s.where()}
	there, here := s.judge(out), s.judge(back)
	b.Out, b.Back = there.dropped, here.dropped
	if !b.Out && !b.Back {
		return b, false
	}
	b.Doubtful = b.Out && there.doubtful || b.Back && here.doubtful
	b.Firewall = s.owner()
	b.Mend = s.mend(b.Firewall)
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
	case has("DOCKER-USER"):
		return Docker
	case s.legacy || s.table == "filter" && s.base == "FORWARD":
		return IPTables
	}
	return NFTables
}

// mend is what lets machines reach the world and be answered, and nothing
// else: ve-+ and ve-* are all the links that systemd-nspawn makes.
func (s ruleset) mend(f Firewall) []string {
	iptables, chain := "iptables", s.base
	if s.legacy {
		iptables = "iptables-legacy"
	}
	switch f {
	case Firewalld:
		return []string{
			"firewall-cmd --permanent --zone=trusted --add-interface=ve-+",
			"firewall-cmd --reload",
		}
	case UFW:
		return []string{"ufw route allow in on ve-+"}
	case NFTables:
		rule := fmt.Sprintf("nft insert rule %s %s %s ", s.family, s.table, s.base)
		return []string{
			rule + `iifname '"ve-*"' accept`,
			rule + `oifname '"ve-*"' ct state established,related accept`,
		}
	case Docker:
		chain = "DOCKER-USER"
	case IPTables:
	}
	return []string{
		iptables + " -I " + chain + " -i ve-+ -j ACCEPT",
		iptables + " -I " + chain + " -o ve-+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	}
}
