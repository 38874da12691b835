//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// drop is what doctor is to say of something that is dropped, and a piece of
// the command that mends it.
type drop struct{ says, fix string }

// walls are firewalls as people have them: what sets each up, what doctor is
// to say of what it drops, and what takes it down. A drop that is empty is one
// that is not there.
var walls = []struct {
	name, up             string
	beyond, names, ports drop // what machines send; ask this host; have published
	down                 string
}{
	{
		"nftables", `nft -f - <<'END'
			table inet wall {
				chain keep { type filter hook forward priority 0; policy drop; }
				chain gate { type filter hook input priority 0; policy drop; iif "lo" accept; ct state established,related accept; }
			}
END`,
		drop{"nftables drops what machines send and receive beyond this host (chain keep of table inet wall)", `nft insert rule inet wall keep iifname '"ve-*"' accept`},
		drop{"nftables drops the queries for names that machines send this host (chain gate of table inet wall)", `nft insert rule inet wall gate iifname '"ve-*"' udp dport 53 accept`},
		drop{"nftables drops what is sent to the published port 8080:7000 (chain keep of table inet wall)", `nft insert rule inet wall keep oifname '"ve-box"' ip daddr `},
		"nft delete table inet wall",
	},
	{
		"nftables that lets others through", `nft -f - <<'END'
			table ip wall {
				set links { type ifname; elements = { "lan0", "lan1" } }
				chain own { iifname "docker0" accept; ip saddr 10.0.0.0/8 accept; }
				chain keep {
					type filter hook forward priority 0; policy accept;
					ct state vmap { established : accept, related : accept, invalid : drop }
					iifname @links accept
					tcp dport { 22, 80-90 } jump own
					jump own
					counter reject
				}
				chain gate {
					type filter hook input priority 0; policy accept;
					iifname "ve-*" udp dport 67 accept
					iifname "ve-*" ct state new reject
				}
			}
END`,
		drop{"nftables drops what machines send beyond this host", "nft insert rule ip wall keep"},
		drop{"nftables drops the queries for names", "nft insert rule ip wall gate"},
		drop{"nftables drops what is sent to the published port 8080:7000", "nft insert rule ip wall keep"},
		"nft delete table ip wall",
	},
	{
		"iptables", "iptables -P FORWARD DROP && iptables -A INPUT -i lo -j ACCEPT && iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT && iptables -P INPUT DROP",
		drop{"iptables drops", "iptables -I FORWARD -i ve-+ -j ACCEPT"},
		drop{"iptables drops the queries", "iptables -I INPUT -i ve-+ -p udp --dport 53 -j ACCEPT"},
		drop{"iptables drops what is sent", "iptables -I FORWARD -o ve-box -d "},
		"iptables -P INPUT ACCEPT && iptables -P FORWARD ACCEPT && iptables -F",
	},
	{
		"the legacy iptables", "iptables-legacy -P FORWARD DROP && iptables-legacy -A FORWARD -i lan0 -m comment --comment 'the LAN' -j ACCEPT && iptables-legacy -A INPUT -i ve-+ -p udp --dport 1:1023 -j REJECT",
		drop{"of the legacy iptables", "iptables-legacy -I FORWARD -i ve-+ -j ACCEPT"},
		drop{"of the legacy iptables", "iptables-legacy -I INPUT -i ve-+ -p udp --dport 53 -j ACCEPT"},
		drop{"of the legacy iptables", "iptables-legacy -I FORWARD -o ve-box -d "},
		"iptables-legacy -P FORWARD ACCEPT && iptables-legacy -F",
	},
	{
		"Docker", `iptables -N DOCKER-USER && iptables -N DOCKER-FORWARD && iptables -N DOCKER-CT && iptables -P FORWARD DROP &&
			iptables -A FORWARD -j DOCKER-USER && iptables -A FORWARD -j DOCKER-FORWARD && iptables -A DOCKER-FORWARD -j DOCKER-CT &&
			iptables -A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT && iptables -A DOCKER-FORWARD -i docker0 -j ACCEPT`,
		drop{"Docker drops", "iptables -I DOCKER-USER -i ve-+ -j ACCEPT"},
		drop{},
		drop{"Docker drops what is sent", "iptables -I DOCKER-USER -o ve-box -d "},
		"iptables -P FORWARD ACCEPT && iptables -F && iptables -X",
	},
	{
		"ufw", "ufw --force enable",
		drop{"ufw drops", "ufw route allow in on ve-+"},
		drop{"ufw drops the queries", "ufw allow in on ve-+ to any port 53"},
		drop{"ufw drops what is sent", "ufw route allow out on ve-box proto tcp to "},
		"ufw --force reset && iptables -F && iptables -X && iptables -P INPUT ACCEPT && iptables -P FORWARD ACCEPT",
	},
	{
		"firewalld", "systemctl start firewalld.service || { journalctl -u firewalld.service; exit 1; }",
		drop{"firewalld drops", "firewall-cmd --permanent --zone=trusted --add-interface=ve-+"},
		drop{"firewalld drops the queries", "firewall-cmd --permanent --zone=trusted --add-interface=ve-+"},
		drop{}, // it lets through what was led elsewhere
		"systemctl stop firewalld.service",
	},
}

// walled makes a host with all that sets up walls.
func walled(t *testing.T) *testhost.Host {
	t.Helper()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	// Not in the host's tree: firewalld would keep the outside away as it boots.
	h.MustRun(t, "sh", "-ec", `printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
		export DEBIAN_FRONTEND=noninteractive; apt-get -qq update && apt-get -qq install --no-install-recommends iptables ufw firewalld
		systemctl reload dbus.service`)
	return h
}

// dropped tries what a machine that asks the host for names and has published
// port 8080 needs of the host's firewalls, and lists what is dropped.
func dropped(t *testing.T, h *testhost.Host, m created) []string {
	t.Helper()
	var lost []string
	if r := ssh(t, h, "root@"+m.Address.String(), "timeout 5 bash -c 'exec 3<>/dev/tcp/"+testhost.OutsideAddress+"/80'"); r.Exit != 0 {
		lost = append(lost, "beyond")
	}
	if r := ssh(t, h, "root@"+m.Address.String(), "resolvectl flush-caches; timeout 5 getent hosts "+testhost.OutsideName); r.Exit != 0 {
		lost = append(lost, "names")
	}
	if line, err := h.FromOutside(t, "tcp4", testhost.HostAddress+":8080"); strings.TrimSpace(line) != testhost.OutsideAddress {
		t.Logf("from outside: %q, %v", line, err)
		lost = append(lost, "ports")
	}
	return lost
}

func TestWhoeverDropsWhatMachinesSendIsNamed(t *testing.T) {
	t.Parallel()
	h := walled(t)
	m := create(t, h, fixture("box", "--dns", "host", "--publish", "8080:7000")...)
	answerInside(t, h, "box", "7000")
	healthy(t, h)
	for _, w := range walls {
		t.Run(w.name, func(t *testing.T) {
			var lost []string
			want := map[string]drop{}
			for name, d := range map[string]drop{"beyond": w.beyond, "names": w.names, "ports": w.ports} {
				if d != (drop{}) {
					want[name] = d
				}
			}
			for _, name := range []string{"beyond", "names", "ports"} {
				if _, is := want[name]; is {
					lost = append(lost, name)
				}
			}
			h.MustRun(t, "sh", "-ec", w.up)
			defer h.MustRun(t, "sh", "-ec", w.down)
			if diff := cmp.Diff(lost, dropped(t, h, m)); diff != "" {
				t.Fatalf("it does not drop what it is to (-want +got):\n%s\n%s", diff, h.MustRun(t, "nft", "list", "ruleset"))
			}
			e := examine(t, h)
			if e.Exit != exitHost {
				t.Errorf("doctor exits %d", e.Exit)
			}
			var fixes []string
			for _, f := range e.wrong() {
				t.Logf("%s: %s\nfix: %s", f.ID, f.What, f.Fix)
				named := ""
				for name, d := range want {
					if f.ID == "host.firewall" && f.Severity == "error" && strings.Contains(f.What, d.says) && strings.Contains(f.Fix, d.fix) {
						named = name
					}
				}
				if named == "" {
					t.Errorf("doctor finds what is not wrong: %+v", f)
				}
				delete(want, named)
				fixes = append(fixes, f.Fix)
			}
			if len(want) > 0 {
				t.Fatalf("doctor does not see %v: %+v\n%s", want, e.wrong(), h.MustRun(t, "nft", "list", "ruleset"))
			}
			for _, fix := range fixes {
				h.MustRun(t, "sh", "-ec", fix)
			}
			for tries := 0; ; tries++ { // what was asked a moment ago may take one
				lost := dropped(t, h, m)
				if len(lost) == 0 {
					break
				}
				if tries == 3 {
					t.Errorf("the commands do not help with %v\n%s", lost, h.MustRun(t, "nft", "list", "ruleset"))
					break
				}
			}
			healthy(t, h)
		})
	}
	t.Run("by create and start", func(t *testing.T) {
		h.MustRun(t, "sh", "-ec", walls[0].up)
		defer h.MustRun(t, "sh", "-ec", walls[0].down)
		r := want(t, exitUnreachable, h.Run(t, fixture("other")...))
		if !strings.Contains(r.Stderr, "warning: network: "+walls[0].beyond.says) || strings.Count(r.Stderr, walls[0].beyond.fix) < 2 {
			t.Errorf("create does not name it: %s", r)
		}
		r = want(t, exitUnreachable, h.Run(t, fixture("asks", "--dns", "host", "--publish", "8081:7000")...))
		says := "cannot resolve " // and then the name
		if _, after, _ := strings.Cut(r.Stderr, says); !strings.Contains(after, walls[0].names.says) || strings.Count(r.Stderr, walls[0].names.fix) < 2 ||
			!strings.Contains(r.Stderr, "warning: network: nftables drops what is sent to the published port 8081:7000") {
			t.Errorf("create does not name who drops queries and what is published: %s", r)
		}
		want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
		if r = h.Run(t, "nspawn-build", "start", "box"); !strings.Contains(r.Stderr, "warning: network: "+walls[0].names.says) {
			t.Errorf("start does not name it: %s", r)
		}
	})
	t.Run("and a .network file that comes before ours", func(t *testing.T) {
		for _, match := range []string{"Name=ve-*", "Name=ve-*\nHost=testhost"} { // the second networkd alone can judge
			want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
			h.WriteFile(t, "/etc/systemd/network/10-all.network", "[Match]\n"+match+"\n[Network]\nAddress=192.168.200.1/24\nIPMasquerade=ipv4\n", "0644")
			h.MustRun(t, "networkctl", "reload")
			r := want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
			if strings.Count(r.Stderr, "ve-box is configured by /etc/systemd/network/10-all.network") != 1 {
				t.Errorf("start does not name it once: %s", r)
			}
		}
	})
	destroy(t, h, "box")
}
