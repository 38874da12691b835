package hostlink

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// TableOf is the name of a machine's table, of the family inet.
func TableOf(machine string) string { return "nspawn-build-" + machine }

// Names in a table.
const (
	egressChain = "egress"
	closedSet   = "closed"
)

// counts are how many rules each chain of a table has: if they are fewer,
// somebody took some away.
type counts map[string]int

// sheet is a table being written. Nothing is real before it is committed.
type sheet struct {
	conn   *nftables.Conn
	table  *nftables.Table
	counts counts
}

func (s *sheet) chain(c nftables.Chain) *nftables.Chain {
	c.Table = s.table
	s.counts[c.Name] = 0
	return s.conn.AddChain(&c)
}

// hook adds a chain that the kernel itself calls.
func (s *sheet) hook(name string, kind nftables.ChainType, at *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	return s.chain(nftables.Chain{Name: name, Type: kind, Hooknum: at, Priority: &priority})
}

func (s *sheet) add(c *nftables.Chain, comment string, r rule) {
	s.counts[c.Name]++
	s.conn.AddRule(&nftables.Rule{
		Table: s.table, Chain: c, Exprs: r, UserData: userdata.AppendString(nil, userdata.TypeComment, comment),
	})
}

// install makes the table, in place of one that is there, in one step: there
// is no moment at which a running machine has none.
func (k *Keeper) install() error {
	closed, err := closedRanges()
	if err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("rules of %s: %w", k.link.Machine, err)
	}
	t := &nftables.Table{Name: TableOf(k.link.Machine), Family: nftables.TableFamilyINet}
	c.AddTable(t) // so that there is one to remove
	c.DelTable(t)
	s := &sheet{conn: c, table: c.AddTable(t), counts: counts{}}
	k.bound(s, closed)
	k.publish(s)
	k.masquerade(s)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("rules of %s cannot be put in place (nftables table %s): %w", k.link.Machine, t.Name, err)
	}
	k.closed, k.rules = closed, s.counts
	return nil
}

// Priorities of hooks. Spoofed packets end before the kernel tracks them. What
// is sent is looked at first with the address that the machine wrote, and again
// where somebody's rule has led it elsewhere.
const (
	beforeTracking nftables.ChainPriority = -300
	afterTracking  nftables.ChainPriority = -150
	changeTarget   nftables.ChainPriority = -100
	filter         nftables.ChainPriority = 0
	changeSource   nftables.ChainPriority = 100
)

// bound keeps the machine to what it may reach.
func (k *Keeper) bound(s *sheet, closed ranges) {
	l := k.link
	if l.Egress == spec.EgressAny {
		return
	}
	set := &nftables.Set{Table: s.table, Name: closedSet, KeyType: nftables.TypeIPAddr, Interval: true}
	if l.Egress == spec.EgressInternet {
		_ = s.conn.AddSet(set, nil) // fails for anonymous sets alone
		closed.addTo(s.conn, set)
	}
	raw := s.hook("spoofed", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, beforeTracking)
	s.add(raw, "no IPv6", when(from(l.Interface), notIPv4(), drop()))
	s.add(raw, "no address but its own", when(from(l.Interface), ipv4(), source(expr.CmpOpNeq, single(l.Address.Addr())), drop()))

	egress := s.chain(nftables.Chain{Name: egressChain})
	s.add(egress, "answers", when(answers(), accept()))
	if l.Egress == spec.EgressInternet {
		for _, server := range l.DNS {
			for _, protocol := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
				if server.Is4() {
					s.add(egress, "its name server", when(ipv4(), destination(expr.CmpOpEq, single(server)), port(protocol, 53), accept()))
				}
			}
		}
		s.add(egress, "nothing that cannot be masqueraded", when(state(expr.CtStateBitINVALID), drop()))
		s.add(egress, "this host, broadcast, multicast", when(notToOneHost(), drop()))
		s.add(egress, "networks that are not the internet", when(ipv4(), destinationIn(set), drop()))
	} else {
		s.add(egress, "nothing else", drop())
	}
	for _, h := range []struct {
		name     string
		at       *nftables.ChainHook
		priority nftables.ChainPriority
	}{
		{"sent", nftables.ChainHookPrerouting, afterTracking},
		{"received", nftables.ChainHookInput, filter},
		{"forwarded", nftables.ChainHookForward, filter},
	} {
		s.add(s.hook(h.name, nftables.ChainTypeFilter, h.at, h.priority), "from the machine", when(from(l.Interface), jump(egressChain)))
	}
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// publish leads what is sent to a published port to the machine, with the
// sender's address unchanged. What this host sends to itself over loopback, and
// what the machine sends, is relayed by a socket instead: see ports.
func (k *Keeper) publish(s *sheet) {
	l := k.link
	var outside, own *nftables.Chain
	for _, p := range l.Publish {
		if p.Address.IsLoopback() {
			continue
		}
		if outside == nil {
			outside = s.hook("published", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, changeTarget)
			own = s.hook("published-here", nftables.ChainTypeNAT, nftables.ChainHookOutput, changeTarget)
		}
		here := destination(expr.CmpOpNeq, loopback)
		if p.Address.IsValid() {
			here = destination(expr.CmpOpEq, single(p.Address))
		}
		protocol := byte(unix.IPPROTO_TCP)
		if p.Protocol == "udp" {
			protocol = unix.IPPROTO_UDP
		}
		lead := when(ipv4(), here, toThisHost(), port(protocol, p.Host), sendTo(l.Address.Addr(), p.Machine))
		s.add(outside, p.String(), when(notFrom(l.Interface), lead))
		s.add(own, p.String(), lead)
	}
}

// masquerade lets the machine's subnet reach what this host reaches: what it
// sends out of any link but its own leaves with this host's address.
func (k *Keeper) masquerade(s *sheet) {
	l := k.link
	if !l.Builtin || !l.HostSide.Addr().Is4() {
		return
	}
	c := s.hook("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, changeSource)
	s.add(c, "made by nspawn-build for "+l.Machine, when(ipv4(), source(expr.CmpOpEq, l.HostSide), notTo(l.Interface), masquerade()))
}

// intact tells whether the table is as it was made.
func (k *Keeper) intact() (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, err
	}
	t := &nftables.Table{Name: TableOf(k.link.Machine), Family: nftables.TableFamilyINet}
	for name, want := range k.rules {
		rules, err := c.GetRules(t, &nftables.Chain{Name: name, Table: t})
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("looking at the rules of %s: %w", k.link.Machine, err)
		}
		if len(rules) != want {
			return false, nil
		}
	}
	return true, nil
}

// close makes the set hold other ranges, in one step.
func (k *Keeper) close(r ranges) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: TableOf(k.link.Machine), Family: nftables.TableFamilyINet}
	set := &nftables.Set{Table: t, Name: closedSet, KeyType: nftables.TypeIPAddr, Interval: true}
	c.FlushSet(set)
	r.addTo(c, set)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("keeping %s out of this host's networks: %w", k.link.Machine, err)
	}
	k.closed = r
	return nil
}

// removeTable removes a machine's table. One that is not there, or a kernel
// that knows no tables, is no error.
func removeTable(machine string) error {
	c, err := nftables.New()
	if err != nil {
		return nil //nolint:nilerr // no nftables, no table
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil //nolint:nilerr // no nftables, no table
	}
	for _, t := range tables {
		if t.Name != TableOf(machine) {
			continue
		}
		c.DelTable(t)
		if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("removing the nftables table %s: %w", t.Name, err)
		}
	}
	return nil
}
