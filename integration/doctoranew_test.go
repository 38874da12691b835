//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// remedy is the command that doctor gives for a finding of a machine.
func remedy(t *testing.T, h *testhost.Host, name, id string) finding {
	t.Helper()
	e := examine(t, h, name)
	at := slices.IndexFunc(e.Findings, func(f finding) bool { return f.ID == id && f.Severity == "error" })
	if at < 0 || e.Findings[at].Fixable {
		t.Fatalf("doctor does not say what is wrong: %+v", e.wrong())
	}
	t.Logf("%s\nwhy: %s\nfix: %s", e.Findings[at].What, e.Findings[at].Why, e.Findings[at].Fix)
	return e.Findings[at]
}

// specOf is the machine's spec file.
func specOf(t *testing.T, h *testhost.Host, name string) string {
	t.Helper()
	return want(t, exitDone, h.Run(t, "nspawn-build", "show", name, "--output", "yaml")).Stdout
}

// The command that doctor gives where a machine is beyond repair.
func TestAMachineThatIsBeyondRepairIsMadeAnewAsItWasAskedForOrLeftAlone(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := installFixture(t, kind.start(t, testhost.Options{}))
			prepareSources(t, h)
			h.WriteFile(t, "/srv/password", "a secret of mine\n", "0600")
			before := h.Calm(t)
			args := customized("box", "--password-file", "/srv/password", "--ssh-key", "/root/.ssh/id_ed25519.pub", "--memory-max", "512M", "--address", "192.168.231.200/24")
			m := create(t, h, args...)
			spec := specOf(t, h, "box")
			asBefore := func(t *testing.T) {
				t.Helper()
				if got := specOf(t, h, "box"); got != spec {
					t.Errorf("it was\n%s\nand is\n%s", spec, got)
				}
				for path, want := range map[string]string{
					"/etc/motd": "welcome\n", "/var/lib/made-by-script": "once\n", "/opt/app/data": "data\n", "/var/lib/order": "after-bootstrap\nbefore-password\nafter-network\n",
				} {
					if got := h.ReadFile(t, m.Tree+path); got != want {
						t.Errorf("%s is %q, want %q", path, got, want)
					}
				}
				if r := create(t, h, args...); r.Changed {
					t.Error("with the command that it was made with, and its password, something changes")
				}
				want(t, exitDone, ssh(t, h, "root@"+m.Address.String(), "true"))
				healthy(t, h)
			}
			// made runs the command, which first fails for want of the password.
			made := func(t *testing.T, f finding, unharmed func() bool) {
				t.Helper()
				if !strings.Contains(f.Why, "FILE stands for") {
					t.Errorf("it does not say what FILE is: %s", f.Why)
				}
				if r := h.Run(t, "sh", "-ec", "cd /tmp; "+f.Fix); r.Exit != exitUsage || !strings.Contains(r.Stderr, "FILE") || !unharmed() {
					t.Fatalf("without the password: %s", r)
				}
				want(t, exitDone, h.Run(t, "sh", "-ec", "cd /tmp; "+strings.ReplaceAll(f.Fix, "FILE", "/srv/password")))
			}

			t.Run("without an init", func(t *testing.T) {
				h.MustRun(t, "sh", "-ec", "nspawn-build stop box && rm "+m.Tree+"/usr/lib/systemd/systemd && echo mine >"+m.Tree+"/root/mine")
				made(t, remedy(t, h, "box", "machine.init"), func() bool { return h.Exists(t, m.Tree+"/root/mine") })
				asBefore(t)
			})
			t.Run("without a tree", func(t *testing.T) {
				h.MustRun(t, "sh", "-ec", "nspawn-build stop box && rm -r "+m.Tree)
				made(t, remedy(t, h, "box", "machine.tree"), func() bool { return specOf(t, h, "box") == spec })
				asBefore(t)
			})
			t.Run("with another tree in its place", func(t *testing.T) {
				h.MustRun(t, "sh", "-ec", "nspawn-build stop box && rm -r "+m.Tree+" && mkdir "+m.Tree+" && echo mine >"+m.Tree+"/mine")
				made(t, remedy(t, h, "box", "machine.tree"), func() bool { return h.ReadFile(t, m.Tree+"/mine") == "mine\n" })
				asBefore(t)
				h.MustRun(t, "sh", "-ec", "grep -q mine "+m.Tree+".other/mine && rm -r "+m.Tree+".other")
			})
			t.Run("a clone", func(t *testing.T) {
				twin := create(t, h, clone("box", "twin", "--live", "--memory-max", "256M", "--publish", "8080:80", "--address", "192.168.232.200/24")...)
				own := specOf(t, h, "twin")
				h.MustRun(t, "sh", "-ec", "nspawn-build stop twin && rm "+twin.Tree+"/usr/lib/systemd/systemd && echo new >"+m.Tree+"/var/lib/order")
				want(t, exitDone, h.Run(t, "sh", "-ec", "cd /tmp; "+remedy(t, h, "twin", "machine.init").Fix))
				if got := specOf(t, h, "twin"); got != own {
					t.Errorf("it was\n%s\nand is\n%s", own, got)
				}
				if got := h.ReadFile(t, twin.Tree+"/var/lib/order"); got != "new\n" {
					t.Errorf("it does not have the files of its source: %q", got)
				}
				want(t, exitDone, ssh(t, h, "root@"+twin.Address.String(), "true"))
				healthy(t, h)
				h.MustRun(t, "sh", "-ec", "nspawn-build stop twin && rm "+twin.Tree+"/usr/lib/systemd/systemd && nspawn-build destroy box")
				if f := remedy(t, h, "twin", "machine.init"); f.Fix != "" || !strings.Contains(f.Why, "its source box is gone") {
					t.Errorf("without its source it says %+v", f)
				}
			})
			destroy(t, h, "twin")
			h.MustRun(t, "sh", "-ec", "rm /tmp/box.anew.yaml /tmp/twin.anew.yaml")
			nothingLeft(t, h, before)
		})
	}
}
