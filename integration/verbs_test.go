//go:build integration

package integration

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// bootID tells one boot of a machine from another; it is asked for over SSH.
func bootID(t *testing.T, h *testhost.Host, m created) string {
	t.Helper()
	r := want(t, exitDone, ssh(t, h, "root@"+m.Address.String(), "cat /proc/1/stat | cut -d' ' -f22; systemctl show -P UserspaceTimestampMonotonic"))
	return r.Stdout
}

// upSince is when the machine's first process started, as status has it.
func upSince(t *testing.T, h *testhost.Host) time.Time {
	t.Helper()
	var s struct{ Since time.Time }
	out := want(t, exitDone, h.Run(t, "nspawn-build", "status", "box", "--output", "json")).Stdout
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Since.IsZero() {
		t.Fatalf("%v: %s", err, out)
	}
	return s.Since
}

// TestEachVerbOfTheGuideDoesWhatItSays is about the guide's "Container
// Management Commands".
func TestEachVerbOfTheGuideDoesWhatItSays(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			m := create(t, h, fixture("box")...)
			do := func(t *testing.T, exit int, args ...string) testhost.Result {
				t.Helper()
				return want(t, exit, h.Run(t, append([]string{"nspawn-build"}, args...)...))
			}
			says := func(t *testing.T, r testhost.Result, words string) {
				t.Helper()
				if !strings.Contains(r.Stdout+r.Stderr, words) {
					t.Errorf("it does not say %q: %s", words, r)
				}
			}
			// leader is the machine's PID 1, and 0 while the machine is off.
			leader := func(t *testing.T) int { t.Helper(); return list(t, h)["box"].Leader }

			t.Run("status", func(t *testing.T) {
				r := do(t, exitDone, "status", "box")
				for _, row := range []string{
					`^box: running\n`, `\n  address    ` + m.Address.String() + ` on ve-box\n`, `\n  tree       ` + m.Tree + `\n`,
					`\n  up since   \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n`, `\n  log in     ssh root@` + m.Address.String() + `\n`,
				} {
					if !regexp.MustCompile(row).MatchString(r.Stdout) {
						t.Errorf("it does not say %s: %s", row, r)
					}
				}
				if h.Systemd() {
					has(t, "systemctl status", h.MustRun(t, "systemctl", "status", "systemd-nspawn@box.service"), "active (running)")
				}
			})
			t.Run("reboot", func(t *testing.T) {
				ssh(t, h, "root@"+m.Address.String(), "touch /run/of-this-boot /root/of-all-boots; sync")
				old, boot := leader(t), bootID(t, h, m)
				says(t, do(t, exitDone, "reboot", "box"), "box is up again")
				if now := leader(t); now == 0 || now == old {
					t.Errorf("its leader was %d and is %d", old, now)
				}
				if bootID(t, h, m) == boot {
					t.Error("it is the same boot")
				}
				if r := ssh(t, h, "root@"+m.Address.String(), "ls /run/of-this-boot /root/of-all-boots"); strings.TrimSpace(r.Stdout) != "/root/of-all-boots" {
					t.Errorf("after the reboot there is %s", r)
				}
				checkMachine(t, h, m) // its services and its network too
			})
			t.Run("restart", func(t *testing.T) {
				old, since := leader(t), upSince(t, h)
				var r struct{ Name, State string }
				out := do(t, exitDone, "restart", "box", "--output", "json").Stdout
				if err := json.Unmarshal([]byte(out), &r); err != nil || r.Name != "box" || r.State != "running" {
					t.Errorf("%v: %s", err, out)
				}
				if now := leader(t); now == 0 || now == old {
					t.Errorf("its leader was %d and is %d", old, now)
				}
				if now := upSince(t, h); !now.After(since) || now.After(time.Now().Add(time.Minute)) {
					t.Errorf("it was up since %s and is since %s", since, now)
				}
			})
			t.Run("poweroff", func(t *testing.T) {
				ssh(t, h, "root@"+m.Address.String(), "systemd-run --quiet --unit=orderly -p ExecStop='/bin/touch /root/stopped-in-order' sleep infinity")
				says(t, do(t, exitDone, "poweroff", "box"), "box is off")
				if leader(t) != 0 {
					t.Error("it runs")
				}
				if !h.Exists(t, m.Tree+"/root/stopped-in-order") {
					t.Error("its services did not end in order")
				}
				says(t, do(t, exitDone, "poweroff", "box"), "box is off already")
				says(t, do(t, exitBoot, "reboot", "box"), "hint: start it: nspawn-build start box")
				if r := do(t, exitDone, "status", "box"); !strings.Contains(r.Stdout, "box: stopped\n") || strings.Contains(r.Stdout, "up since") {
					t.Errorf("its status: %s", r)
				}
			})
			t.Run("start", func(t *testing.T) {
				says(t, do(t, exitDone, "start", "box"), "box is up")
				says(t, do(t, exitDone, "start", "box"), "box runs already")
			})
			// A service that does not end when it is asked to, and is waited for.
			const stubborn = "systemd-run --quiet --unit=stubborn -p TimeoutStopSec=infinity -p KillMode=none -p ExecStop='/bin/sleep infinity' sleep infinity"
			for _, verb := range []string{"stop", "poweroff"} {
				t.Run(verb+" by force", func(t *testing.T) {
					do(t, exitDone, "start", "box")
					want(t, exitDone, ssh(t, h, "root@"+m.Address.String(), stubborn))
					says(t, do(t, exitDone, verb, "--force", "box"), "box is off")
					if leader(t) != 0 {
						t.Error("it runs")
					}
				})
			}
			t.Run("poweroff inside", func(t *testing.T) {
				do(t, exitDone, "start", "box")
				h.Run(t, "nspawn-build", "exec", "box", "poweroff") // which may end with the machine
				h.Eventually(t, 2*time.Minute, "sh", "-c", "nspawn-build status box | grep -q '^box: stopped$'")
				says(t, do(t, exitDone, "start", "box"), "box is up")
				do(t, exitDone, "stop", "box")
			})
			t.Run("restart what is off", func(t *testing.T) {
				says(t, do(t, exitDone, "restart", "box"), "box is up again")
				checkMachine(t, h, m)
			})
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}

func TestAnEnabledMachineIsBootedWithTheHost(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	// As on hosts whose presets do not enable it.
	h.MustRun(t, "systemctl", "disable", "--quiet", "machines.target")
	before := h.Snapshot(t)
	enabled := func(unit string, wanted bool) {
		t.Helper()
		if r := h.Run(t, "systemctl", "is-enabled", unit); (r.Exit == 0) != wanted {
			t.Errorf("%s: want enabled %v, got %s", unit, wanted, r)
		}
	}
	m := create(t, h, fixture("box", "--enable")...)
	enabled("systemd-nspawn@box.service", true)
	enabled("machines.target", true)
	// Making it again finds nothing to do, and mends what somebody changed.
	if again := create(t, h, fixture("box", "--enable")...); again.Changed {
		t.Error("making it again changed something")
	}
	h.MustRun(t, "machinectl", "disable", "box")
	if again := create(t, h, fixture("box", "--enable")...); !again.Changed {
		t.Error("making it again did not enable it")
	}
	enabled("systemd-nspawn@box.service", true)

	// What the host does when it boots.
	h.MustRun(t, "systemctl", "stop", "machines.target")
	h.Eventually(t, time.Minute, "sh", "-c", "! machinectl status box")
	h.MustRun(t, "systemctl", "start", "machines.target")
	want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
	h.Eventually(t, time.Minute, append(append([]string{"ssh"}, sshOptions...), "root@"+m.Address.String(), "true")...)

	// A second one keeps the target for itself when the first is disabled.
	create(t, h, fixture("other", "--no-boot")...)
	for range 2 {
		want(t, exitDone, h.Run(t, "nspawn-build", "enable", "other"))
		want(t, exitDone, h.Run(t, "nspawn-build", "disable", "box"))
	}
	enabled("systemd-nspawn@other.service", true)
	enabled("systemd-nspawn@box.service", false)
	enabled("machines.target", true)
	if all := list(t, h); all["box"].Enabled || !all["other"].Enabled || all["box"].State != "running" {
		t.Errorf("list says %+v", all)
	}
	want(t, exitDone, h.Run(t, "nspawn-build", "destroy", "--all"))
	enabled("machines.target", false)
	nothingLeft(t, h, before)

	t.Run("what fails is undone", func(t *testing.T) {
		h.MustRun(t, "systemctl", "mask", "--quiet", "systemd-nspawn@box.service")
		masked := h.Snapshot(t)
		r := want(t, exitConfigure, h.Run(t, fixture("box", "--enable", "--no-boot")...))
		if !strings.Contains(r.Stderr, "enabling systemd-nspawn@box.service") {
			t.Errorf("it does not say what failed: %s", r)
		}
		nothingLeft(t, h, masked)
		h.MustRun(t, "systemctl", "unmask", "--quiet", "systemd-nspawn@box.service")
	})
	t.Run("what a crash leaves is destroyed", func(t *testing.T) {
		p := h.Start(t, testhost.Command{Args: fixture("box", "--enable", "--no-boot"), KillOn: regexp.MustCompile("enable: started")})
		if r := p.Wait(t, time.Minute); r.Exit != exitKilled {
			t.Fatalf("it was not killed: %s", r)
		}
		destroy(t, h, "box")
		nothingLeft(t, h, before)
	})
	t.Run("not under the direct driver", func(t *testing.T) {
		r := want(t, exitHost, h.Run(t, fixture("box", "--enable", "--driver", "direct")...))
		if !strings.Contains(r.Stderr, "that takes the systemd driver") || !strings.Contains(r.Stderr, "hint: ") {
			t.Errorf("it does not say why: %s", r)
		}
		nothingLeft(t, h, before)
	})
}

func TestWithoutSystemdNothingIsEnabled(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	want(t, exitHost, h.Run(t, fixture("box", "--enable")...))
	nothingLeft(t, h, before)
	create(t, h, fixture("box", "--no-boot")...)
	for range 2 {
		r := want(t, exitHost, h.Run(t, "nspawn-build", "enable", "box"))
		if !strings.Contains(r.Stderr, "hint: have what starts services on this host run: nspawn-build start box") {
			t.Errorf("it does not say what to do: %s", r)
		}
	}
	want(t, exitDone, h.Run(t, "nspawn-build", "disable", "box"))
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}

func TestARemovedMachineLeavesItsFilesAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			m := create(t, h, fixture("box")...)
			create(t, h, fixture("other", "--no-boot")...)
			ssh(t, h, "root@"+m.Address.String(), "echo kept >/root/work")
			r := want(t, exitDone, h.Run(t, "nspawn-build", "remove", "box"))
			if r.Stdout != "box is forgotten; its files are still in "+m.Tree+"\n" {
				t.Errorf("it says %s", r)
			}
			want(t, exitNoMachine, h.Run(t, "nspawn-build", "status", "box"))
			want(t, exitNoMachine, h.Run(t, "nspawn-build", "remove", "box"))
			destroy(t, h, "other")
			if diff := h.Settled(t, before, 10*time.Second); diff != "" {
				t.Errorf("this is left behind:\n%s", diff)
			}
			if got := h.MustRun(t, "cat", m.Tree+"/root/work"); got != "kept\n" {
				t.Errorf("its files hold %q", got)
			}
			// Nobody holds them, and nothing is made over them.
			if left := h.MustRun(t, "sh", "-c", "ls -A "+m.Tree+"/.."); left != "box\n" {
				t.Errorf("beside the tree there is %q", left)
			}
			refused := want(t, exitExists, h.Run(t, fixture("box")...))
			if !strings.Contains(refused.Stderr, m.Tree) {
				t.Errorf("it does not say what is in the way: %s", refused)
			}
			h.MustRun(t, "rm", "-r", m.Tree)
			create(t, h, fixture("box")...)
			destroy(t, h, "box")
			h.MustRun(t, "rmdir", "/root/containers")
			nothingLeft(t, h, before)
		})
	}
}
