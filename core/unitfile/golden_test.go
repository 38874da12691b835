package unitfile

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHo6Rp0xm0k1Z2yT6vPIV1jMoGVHyT9bOWVQj1zi0oGv"

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// rendered is every file that is made, in the variants that matter.
func rendered() map[string]func() ([]byte, error) {
	host := HostNetwork{Machine: "mycontainer", Link: "ve-mycontainer", Address: prefix("192.168.200.1/24")}
	old := host
	old.SystemdVersion = 247
	unmanaged := host
	unmanaged.Unmanaged = true
	return map[string]func() ([]byte, error){
		"host.network":       host.Render,
		"host-v247.network":  old.Render,
		"unmanaged.network":  unmanaged.Render,
		"link.service":       LinkService{Machine: "mycontainer", Program: "/usr/local/bin/nspawn-build", Verb: "hostlink"}.Render,
		"link.conf":          LinkDropIn{"mycontainer", "v245"}.Render,
		"machine.network":    MachineNetwork{prefix("192.168.200.200/24"), addr("192.168.200.1"), []netip.Addr{addr("9.9.9.9"), addr("2620:fe::fe")}}.Render,
		"unresolved.network": MachineNetwork{Address: prefix("10.1.2.3/16"), Gateway: addr("10.1.0.1")}.Render,
		"plain.nspawn":       Nspawn{Machine: "mycontainer"}.Render,
		"v248.nspawn":        Nspawn{Machine: "mycontainer", SystemdVersion: 248}.Render,
		"hardened.nspawn": Nspawn{
			Machine: "mycontainer", SystemdVersion: 252, ReadOnly: true, Ephemeral: true, PrivateNetwork: true,
			Capabilities: []string{"CAP_SYS_TIME"}, DropCapabilities: []string{"CAP_SYS_PTRACE", "CAP_MKNOD"},
			NoNewPrivileges: true, SystemCallFilter: []string{"~userfaultfd", "@clock"}, PrivateUsers: spec.PrivateUsersIdentity,
			Binds: []Bind{
				{Source: "/home/user/projects", Target: "/workspace", IDMap: RootIDMap},
				{Source: "/srv/data", ReadOnly: true},
				{Source: `/srv/100% a:b\c`, Target: "/odd [name]"},
			},
		}.Render,
		"trusting.nspawn": Nspawn{
			Machine: "mycontainer", SystemdVersion: 257, PrivateUsers: spec.PrivateUsersNone, Capabilities: []string{"all"},
		}.Render,
		"v261.nspawn":    Nspawn{Machine: "mycontainer", SystemdVersion: 261}.Render,
		"sandbox.nspawn": Nspawn{Machine: "mycontainer", SystemdVersion: 262, AddressFamilies: []string{"AF_INET", "AF_UNIX"}}.Render,
		"binds.conf":     BindsDropIn{"mycontainer", []string{"/srv/b", "/home/user/projects"}}.Render,
		"limits.conf": LimitsDropIn{
			Machine: "mycontainer", Tree: "/home/user/containers/mycontainer",
			Limits: spec.Limits{CPUQuota: 50, MemoryMax: 8 << 30, MemoryHigh: 6 << 30, IOBandwidth: 50 << 20, IOWeight: 100, TasksMax: 500},
		}.Render,
		"lifted.conf": LimitsDropIn{
			Machine: "mycontainer", Tree: "/home/user/containers/mycontainer",
			Limits: spec.Limits{
				CPUQuota: spec.Infinity, MemoryMax: spec.Infinity, MemoryHigh: spec.Infinity, IOBandwidth: spec.Infinity, TasksMax: spec.Infinity,
			},
		}.Render,
		"odd-tree.conf": LimitsDropIn{Machine: "mycontainer", Tree: `/srv/100% "odd" a\b/mycontainer`, Limits: spec.Limits{IOBandwidth: 1 << 20}}.Render,
		"ssh_config": func() ([]byte, error) {
			return SSHConfig([]SSHHost{{Name: "mycontainer", Address: addr("192.168.200.200")}, {Name: "Web.example", Address: addr("192.168.201.200")}})
		},
		"ssh_config-alias": func() ([]byte, error) {
			return SSHConfig([]SSHHost{{Name: "mycontainer", Address: addr("192.168.200.200"), Alias: true}})
		},
		"known_hosts": func() ([]byte, error) {
			return KnownHosts([]KnownHost{{"mycontainer", addr("192.168.200.200"), []string{hostKey + " root@mycontainer\n"}}})
		},
		"sshd-password.conf": SSHD{RootLoginYes, true, []string{"/etc/ssh/ssh_host_ed25519_key"}}.Render,
		"sshd-keys.conf":     SSHD{PermitRootLogin: RootLoginKeys}.Render,
		"resolver.conf":      Resolver{[]netip.Addr{addr("9.9.9.9"), addr("2620:fe::fe")}}.Render,
		"resolved.conf":      ResolvedStub{Machine: "mycontainer", Address: addr("192.168.200.1")}.Render,
		"units.preset": func() ([]byte, error) {
			return Preset([]string{"ssh.service", "systemd-networkd.service", "getty@tty1.service"})
		},
	}
}

func TestFilesAreAsReviewed(t *testing.T) {
	for name, render := range rendered() {
		t.Run(name, func(t *testing.T) {
			got, err := render()
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v (run with -update to make it)", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilesSayWhoMadeThem(t *testing.T) {
	for name, render := range rendered() {
		data, err := render()
		if err != nil {
			t.Fatal(err)
		}
		owner, ok := Owner(data)
		if !ok || (owner != "" && owner != "mycontainer") {
			t.Errorf("%s is owned by %q, %t", name, owner, ok)
		}
		if !Made(data, owner) || Made(data, "mycontaine") || Made(data, "another") {
			t.Errorf("%s is not recognised for what it is", name)
		}
	}
	for _, foreign := range []string{
		"", "\n", "[Match]\nName=ve-*\n", "# Made by nspawn-build", "#Made by nspawn-build.\n",
		"# Made by nspawn-build for machine .\n", "# Made by nspawn-build for machine web\n",
		"# Made by nspawn-build for machine ../x.\n", " # Made by nspawn-build.\n",
		"# Made by somebody.\n# Made by nspawn-build.\n", "# Made by nspawn-build for machine web. And kept by me.\n",
	} {
		if owner, ok := Owner([]byte(foreign)); ok {
			t.Errorf("%q is taken for a file of ours, of %q", foreign, owner)
		}
		if Made([]byte(foreign), "") || Made([]byte(foreign), "web") {
			t.Errorf("%q is taken for a file of ours", foreign)
		}
	}
}

func TestNoLimitsLeaveNothingToSay(t *testing.T) {
	data, err := LimitsDropIn{Machine: "web"}.Render()
	if err != nil {
		t.Fatal(err)
	}
	if got := options(t, data); len(got) > 0 {
		t.Errorf("rendered %v", got)
	}
}
