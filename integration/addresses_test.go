//go:build integration

package integration

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// has says of a command's output which words it lacks.
func has(t *testing.T, what, got string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(got, word) {
			t.Errorf("%s lacks %q:\n%s", what, word, got)
		}
	}
}

// TestAnAddressThatIsChosenIsTheMachinesAndTheGatewayTheHosts chooses what is
// not the default in anything: neither the length of the subnet, nor its first
// address for the host.
func TestAnAddressThatIsChosenIsTheMachinesAndTheGatewayTheHosts(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			m := create(t, h, fixture("box", "--address", "10.99.7.9/28", "--gateway", "10.99.7.14", "--dns", testhost.OutsideAddress)...)
			if m.Address != netip.MustParseAddr("10.99.7.9") {
				t.Errorf("it has %s", m.Address)
			}
			checkMachine(t, h, m)
			at := "root@10.99.7.9"
			has(t, "its end", ssh(t, h, at, "ip -4 -o address show dev host0; ip route").Stdout,
				"10.99.7.9/28", "default via 10.99.7.14 dev host0", "10.99.7.0/28 dev host0")
			has(t, "the host's end", h.MustRun(t, "ip", "-4", "-o", "address", "show", "dev", "ve-box"), "10.99.7.14/28")
			// The files of the guide, and that networkd took them.
			has(t, "its network's file", ssh(t, h, at, "cat /etc/systemd/network/80-container-host0.network").Stdout,
				"Name=host0", "DHCP=no", "Address=10.99.7.9/28", "Gateway=10.99.7.14", "DNS="+testhost.OutsideAddress, "RequiredForOnline=yes")
			has(t, "its networkd", ssh(t, h, at, "networkctl status host0").Stdout,
				"/etc/systemd/network/80-container-host0.network", "10.99.7.9", "10.99.7.14", testhost.OutsideAddress, "routable (configured)")
			if h.Systemd() {
				has(t, "the host's file", h.ReadFile(t, "/etc/systemd/network/50-ve-box.network"),
					"Name=ve-box", "Driver=veth", "Address=10.99.7.14/28", "LinkLocalAddressing=ipv6", "DHCPServer=no", "IPMasquerade=ipv4", "LLDP=yes", "EmitLLDP=customer-bridge")
				has(t, "the host's networkd", h.MustRun(t, "networkctl", "status", "ve-box"),
					"/etc/systemd/network/50-ve-box.network", "10.99.7.14", "(configured)")
			}
			// It stays, also when the network is begun anew inside, and is nobody else's.
			want(t, exitDone, ssh(t, h, at, "systemctl restart systemd-networkd"))
			h.Eventually(t, time.Minute, slices.Concat([]string{"ssh"}, sshOptions, []string{at, "networkctl status host0 | grep -F 'routable (configured)'"})...)
			checkMachine(t, h, m)
			want(t, exitDone, h.Run(t, "nspawn-build", "restart", "box"))
			checkMachine(t, h, m)
			r := want(t, exitUsage, h.Run(t, fixture("other", "--address", "10.99.7.3/29", "--gateway", "10.99.7.2")...))
			has(t, "what is refused", r.Stderr, "network.address", "10.99.7.0/28", "hint: ")
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}

// TestAPoolThatIsUsedUpIsSaidToBe gives a host room for two machines.
func TestAPoolThatIsUsedUpIsSaidToBe(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.MustRun(t, "mkdir", "-p", "/etc/nspawn-build")
			h.WriteFile(t, "/etc/nspawn-build/config.yaml", "pool: 10.98.0.0-10.98.1.0\negress: internet\nalias: true\n", "0644")
			before := h.Snapshot(t)
			one := create(t, h, fixture("one", "--no-boot")...)
			two := create(t, h, fixture("two")...)
			if one.Address != netip.MustParseAddr("10.98.0.200") || two.Address != netip.MustParseAddr("10.98.1.200") {
				t.Errorf("they have %s and %s", one.Address, two.Address)
			}
			has(t, "two's end", ssh(t, h, "two", "ip -4 -o address show dev host0; ip route").Stdout, "10.98.1.200/24", "default via 10.98.1.1")
			full := h.Calm(t)
			r := want(t, exitHost, h.Run(t, fixture("three", "--no-boot")...))
			has(t, "what it says", r.Stderr, "no free subnet in the pool 10.98.0.0/24 to 10.98.1.0/24: 2 used by machines", "hint: destroy a machine, pass --address and --gateway")
			if diff := h.Settled(t, full, 10*time.Second); diff != "" {
				t.Errorf("it was made all the same:\n%s", diff)
			}
			// One that takes none is made, whatever the defaults say of links.
			create(t, h, fixture("three", "--no-boot", "--private-network")...)
			destroy(t, h, "three")
			// So is one whose own is given, and one after another was destroyed.
			three := create(t, h, fixture("three", "--no-boot", "--address", "10.97.0.2/24")...)
			if three.Address != netip.MustParseAddr("10.97.0.2") {
				t.Errorf("three has %s", three.Address)
			}
			destroy(t, h, "one")
			if again := create(t, h, fixture("four", "--no-boot")...); again.Address != one.Address {
				t.Errorf("four has %s, which is not that of one", again.Address)
			}
			want(t, exitDone, h.Run(t, "nspawn-build", "destroy", "--all"))
			nothingLeft(t, h, before)
		})
	}
}
