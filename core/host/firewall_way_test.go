package host

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// asked is a query that a machine sends this host.
var asked = WayToNames("ve-box", sent.source, netip.MustParseAddr("192.168.200.1"))

// reached is what the world, or else a neighbour, sends to a published port.
var reached = func() Way {
	w := Way{Purpose: Published, link: "ve-box", machine: sent.source, port: Port{Name: "8080:80", Protocol: "tcp", Host: 8080, Machine: 80}}
	for _, from := range []netip.Addr{somewhere, netip.MustParseAddr("10.1.0.1")} {
		w.packets = append(w.packets, packet{
			in: "eth0", out: "ve-box", source: from, destination: sent.source, sourcePort: somePort, destinationPort: 80, led: 8080,
		})
	}
	return w
}()

// ufwInput is how ufw looks at what is for this host itself.
const ufwInput = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:ufw-before-input - [0:0]
:ufw-not-local - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
-A ufw-not-local -j DROP
`

func TestEachWayIsJudgedWhereItsPacketsAreSeen(t *testing.T) {
	const shut = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n"
	const established = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
	for _, c := range []struct {
		name, text string
		way        Way
		by         Firewall // empty where it is open
		mend       string   // in pieces, parted by |
		doubtful   bool
	}{
		{name: "no INPUT drop", way: asked, text: "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n"},
		{
			name: "a policy of INPUT", way: asked, text: shut, by: IPTables,
			mend: "iptables-legacy -I INPUT -i ve-+ -p udp --dport 53 -j ACCEPT|iptables-legacy -I INPUT -i ve-+ -p tcp --dport 53 -j ACCEPT",
		},
		{name: "a policy of INPUT, mended", way: asked, text: shut + "-A INPUT -i ve-+ -p udp -m udp --dport 53 -j ACCEPT\n"},
		{name: "TCP alone", way: asked, text: shut + "-A INPUT -i ve-+ -p tcp -m tcp --dport 53 -j ACCEPT\n", by: IPTables, mend: "iptables-legacy -I INPUT -i ve-+ -p udp --dport 53 -j ACCEPT|iptables-legacy -I INPUT -i ve-+ -p tcp --dport 53 -j ACCEPT"},
		{name: "some ports", way: asked, text: shut + "-A INPUT -p udp -m multiport --dports 22,50:60 -j ACCEPT\n"},
		{name: "other ports", way: asked, text: shut + "-A INPUT -p udp -m multiport --dports 22,54:60 -j ACCEPT\n-A INPUT -p udp ! --dport 53 -j ACCEPT\n", by: IPTables, mend: "iptables-legacy -I INPUT -i ve-+ -p udp --dport 53 -j ACCEPT|iptables-legacy -I INPUT -i ve-+ -p tcp --dport 53 -j ACCEPT"},
		{name: "ufw", way: asked, text: ufwInput, by: UFW, mend: "ufw allow in on ve-+ to any port 53"},
		{name: "ufw, mended", way: asked, text: ufwInput + "-A ufw-user-input -i ve-+ -p udp -m udp --dport 53 -j ACCEPT\n"},
		{
			name: "Docker does not keep INPUT", way: asked, text: shut + ":DOCKER-USER - [0:0]\n", by: IPTables,
			mend: "iptables-legacy -I INPUT -i ve-+ -p udp --dport 53 -j ACCEPT|iptables-legacy -I INPUT -i ve-+ -p tcp --dport 53 -j ACCEPT",
		},
		{
			name: "Docker, mended for what machines send", way: reached,
			text: shut + ":DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -i ve-+ -j ACCEPT\n-A DOCKER-USER -o ve-+ " + established, by: Docker,
			mend: "iptables-legacy -I DOCKER-USER -o ve-box -d 192.168.200.200 -p tcp --dport 80 -j ACCEPT",
		},
		{
			name: "nothing passes to the port, nor back", way: reached, text: shut, by: IPTables,
			mend: "iptables-legacy -I FORWARD -o ve-box -d 192.168.200.200 -p tcp --dport 80 -j ACCEPT|iptables-legacy -I FORWARD -i ve-box -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		},
		{name: "the port, mended", way: reached, text: shut + "-A FORWARD -o ve-box -d 192.168.200.200/32 -p tcp -m tcp --dport 80 -j ACCEPT\n-A FORWARD -i ve-box " + established},
		{
			name: "only the answers are dropped", way: reached, text: shut + "-A FORWARD -o ve-box -p tcp -m tcp --dport 80 -j ACCEPT\n", by: IPTables,
			mend: "iptables-legacy -I FORWARD -i ve-box -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		},
		{name: "what was led elsewhere", way: reached, text: shut + "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT\n"},
		{name: "for neighbours alone", way: reached, text: shut + "-A FORWARD -s 10.0.0.0/8 -o ve-box -j ACCEPT\n-A FORWARD " + established},
		{
			name: "ufw's forwarding", way: reached, text: shut + ":ufw-user-forward - [0:0]\n-A FORWARD " + established, by: UFW,
			mend: "ufw route allow out on ve-box proto tcp to 192.168.200.200 port 80",
		},
		{
			name: "a mark", way: reached, text: shut + "-A FORWARD " + established + "-A FORWARD -m mark --mark 0x1 -j ACCEPT\n", by: IPTables, doubtful: true,
			mend: "iptables-legacy -I FORWARD -o ve-box -d 192.168.200.200 -p tcp --dport 80 -j ACCEPT",
		},
	} {
		b, blocked := parseSaved(c.text, c.way.hook()).blocks(c.way)
		if blocked != (c.by != "") || b.Firewall != c.by || b.Doubtful != c.doubtful {
			t.Errorf("%s: got %s, doubtful %v", c.name, b, b.Doubtful)
		}
		if diff := cmp.Diff(c.mend, strings.Join(b.Mend, "|")); diff != "" {
			t.Errorf("%s: it says to do this (-want +got):\n%s", c.name, diff)
		}
		other := forwarded + received - c.way.hook()
		if b, blocked := parseSaved("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n", other).blocks(c.way); blocked {
			t.Errorf("%s: it is looked for where it is not seen: %s", c.name, b)
		}
	}
}

// TestFirewalldOpensPortsOfItsOwnAlone is of StrictForwardPorts=yes, as
// firewalld writes it from 2.3 on.
func TestFirewalldOpensPortsOfItsOwnAlone(t *testing.T) {
	led := []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, 0x20), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
	established := []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, stateEstablished), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)}, &expr.Verdict{Kind: expr.VerdictAccept},
	}
	own := func(port uint16) rule {
		return nftRule{exprs: []expr.Any{
			&expr.Ct{Key: expr.CtKeyPROTODST, Register: 1},
			&expr.Cmp{Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)}, &expr.Verdict{Kind: expr.VerdictAccept},
		}}
	}
	reject := nftRule{exprs: []expr.Any{&expr.Reject{}}}
	strict := func(ports ...rule) ruleset {
		return ruleset{hook: forwarded, family: "inet", table: "firewalld", base: "filter_FORWARD", chains: map[string][]rule{
			"filter_FORWARD": {
				nftRule{exprs: established}, nftRule{exprs: append(slices.Clone(led), &expr.Verdict{Kind: expr.VerdictJump, Chain: "filter_FORWARD_dnat"})}, reject,
			},
			"filter_FORWARD_dnat": append(ports, reject),
		}}
	}
	b, blocked := strict(own(8081)).blocks(reached)
	want := "firewall-cmd --permanent --add-forward-port=port=8080:proto=tcp:toport=80:toaddr=192.168.200.200|firewall-cmd --reload"
	if !blocked || b.Doubtful || b.Firewall != Firewalld || strings.Join(b.Mend, "|") != want {
		t.Errorf("got %+v, %v", b, blocked)
	}
	if b, blocked := strict(own(8080)).blocks(reached); blocked {
		t.Errorf("its own port: %s", b)
	}
	loose := strict()
	loose.chains["filter_FORWARD"][1] = nftRule{exprs: append(slices.Clone(led), &expr.Verdict{Kind: expr.VerdictAccept})}
	if b, blocked := loose.blocks(reached); blocked {
		t.Errorf("where all that was led elsewhere passes: %s", b)
	}
}

func TestModulesOfIptablesAreJudgedInNftables(t *testing.T) {
	all := [2]uint16{0, 65535}
	query, led, out := asked.packets[0], reached.packets[0], sent
	for _, c := range []struct {
		name   string
		info   xt.InfoAny
		packet packet
		want   answer
	}{
		{"udp", &xt.Udp{SrcPorts: all, DstPorts: [2]uint16{53, 53}}, query, yes},
		{"udp", &xt.Udp{SrcPorts: all, DstPorts: [2]uint16{53, 53}, InvFlags: xt.UdpInvDestPorts}, query, no},
		{"udp", &xt.Udp{SrcPorts: [2]uint16{67, 67}, DstPorts: all}, query, no},
		{"udp", &xt.Udp{SrcPorts: all, DstPorts: all}, out, no},
		{"tcp", &xt.Tcp{SrcPorts: all, DstPorts: [2]uint16{80, 90}}, led, yes},
		{"tcp", &xt.Tcp{SrcPorts: all, DstPorts: [2]uint16{81, 90}}, led, no},
		{"tcp", &xt.Tcp{SrcPorts: all, DstPorts: [2]uint16{81, 90}, FlagsMask: 2}, led, perhaps},
		{"tcp", &xt.Tcp{SrcPorts: all, DstPorts: all}, query, no},
		{"addrtype", &xt.AddrTypeV1{Dest: uint16(xt.AddrTypeLocal)}, query, yes},
		{"addrtype", &xt.AddrTypeV1{Dest: uint16(xt.AddrTypeLocal), Flags: 2}, query, no},
		{"addrtype", &xt.AddrTypeV1{Dest: uint16(xt.AddrTypeLocal)}, led, no},
		{"addrtype", &xt.AddrTypeV1{Source: uint16(xt.AddrTypeLocal)}, led, perhaps},
	} {
		if a := matchOf(c.packet, &expr.Match{Name: c.name, Info: c.info}); a != c.want {
			t.Errorf("%s %+v: got %v, want %v", c.name, c.info, a, c.want)
		}
	}
}

func TestOnlyHooksThatWaysPassAreLookedAt(t *testing.T) {
	for name, c := range map[string]struct {
		at   *nftables.ChainHook
		kind nftables.ChainType
		want hook
		seen bool
	}{
		"forward": {nftables.ChainHookForward, nftables.ChainTypeFilter, forwarded, true},
		"input":   {nftables.ChainHookInput, nftables.ChainTypeFilter, received, true},
		"output":  {nftables.ChainHookOutput, nftables.ChainTypeFilter, 0, false},
		"nat":     {nftables.ChainHookInput, nftables.ChainTypeNAT, 0, false},
		"none":    {nil, nftables.ChainTypeFilter, 0, false},
	} {
		if at, seen := hookOf(&nftables.Chain{Hooknum: c.at, Type: c.kind}); at != c.want || seen != c.seen {
			t.Errorf("%s: got %v, %v", name, at, seen)
		}
	}
}
