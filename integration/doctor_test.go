//go:build integration

package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// exitUnreachable is that of a machine that runs and cannot be worked with.
const exitUnreachable = 7

// finding is one of doctor's.
type finding struct {
	ID       string `json:"id"`
	Machine  string `json:"machine"`
	Severity string `json:"severity"`
	What     string `json:"what"`
	Why      string `json:"why"`
	Fix      string `json:"fix"`
	Fixable  bool   `json:"fixable"`
}

// examined is what doctor prints with --output json.
type examined struct {
	Findings []finding `json:"findings"`
	Exit     int       `json:"exit"`
}

// wrong are the findings that are errors or warnings.
func (e examined) wrong() []finding {
	return slices.DeleteFunc(slices.Clone(e.Findings), func(f finding) bool { return f.Severity != "error" && f.Severity != "warning" })
}

// examine runs doctor.
func examine(t *testing.T, h *testhost.Host, args ...string) examined {
	t.Helper()
	r := h.Run(t, append([]string{"nspawn-build", "doctor", "--output", "json"}, args...)...)
	var e examined
	if err := json.Unmarshal([]byte(r.Stdout), &e); err != nil {
		t.Fatalf("doctor did not print JSON: %v: %s", err, r)
	}
	if e.Exit != r.Exit {
		t.Errorf("doctor says that it exits %d and exits %d", e.Exit, r.Exit)
	}
	return e
}

// healthy waits until doctor finds nothing wrong but what the host itself
// lacks: a service that was just started takes a moment.
func healthy(t *testing.T, h *testhost.Host, args ...string) {
	t.Helper()
	var left []finding
	for range 8 {
		e := examine(t, h, args...)
		left = slices.DeleteFunc(e.wrong(), func(f finding) bool {
			return f.ID == "machine.limits" && strings.Contains(f.What, "not enforced on this host")
		})
		if len(left) == 0 && e.Exit == exitDone {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Errorf("doctor is not content: %+v", left)
}

// beVisited has the sshd of a machine bear that doctor comes and goes without a
// login, more often here than anybody would look. Since OpenSSH 9.8 it turns away
// for a while who does that again and again.
func beVisited(t *testing.T, h *testhost.Host, name string) {
	t.Helper()
	h.MustRun(t, "nspawn-build", "exec", name, "sh", "-ec",
		"echo 'PerSourcePenalties no' >/etc/ssh/sshd_config.d/90-visited.conf && systemctl restart ssh.service")
}

// fault is something that goes wrong, and what doctor is to say of it.
type fault struct {
	name   string
	inject string // a shell command
	id     string
	about  string // the machine; empty for the host
	says   string // a piece of what is said
	exit   int    // with which doctor ends
	fix    string // a piece of the command that mends it
	tidy   string // a shell command that takes away what only the test made
	// systemd says that the fault, or what mends it, takes a host that runs it.
	systemd bool
}

// try injects a fault, has doctor name it, runs the command that doctor gives,
// and looks whether that helped.
func (f fault) try(t *testing.T, h *testhost.Host) {
	t.Run(f.name, func(t *testing.T) {
		h.MustRun(t, "sh", "-ec", f.inject)
		e := examine(t, h)
		at := slices.IndexFunc(e.Findings, func(g finding) bool {
			return g.ID == f.id && g.Machine == f.about && g.Severity != "ok" && strings.Contains(g.What, f.says)
		})
		if at < 0 {
			t.Fatalf("doctor does not find it; it finds %+v", e.wrong())
		}
		got := e.Findings[at]
		t.Logf("%s: %s\nwhy: %s\nfix: %s", got.Severity, got.What, got.Why, got.Fix)
		if e.Exit != f.exit {
			t.Errorf("doctor exits %d and not %d; it finds %+v", e.Exit, f.exit, e.wrong())
		}
		if !strings.Contains(got.Fix, f.fix) || got.Fix == "" {
			t.Fatalf("the command is %q and not %q", got.Fix, f.fix)
		}
		if r := h.Run(t, "sh", "-ec", got.Fix); r.Exit != 0 && !got.Fixable {
			t.Fatalf("the command does not run: %s", r)
		}
		if f.tidy != "" {
			h.MustRun(t, "sh", "-ec", f.tidy)
		}
		healthy(t, h)
	})
}

func TestDoctorFindsWhatIsWrongAndItsCommandsMendIt(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	before := h.Snapshot(t)
	healthy(t, h)
	m := create(t, h, patient...)
	beVisited(t, h, "box")
	t.Run("a healthy machine", func(t *testing.T) {
		calm := h.Calm(t, console)
		healthy(t, h)
		if diff := h.Settled(t, calm, 10*time.Second, console); diff != "" {
			t.Errorf("looking has changed this:\n%s", diff)
		}
		r := want(t, exitDone, h.Run(t, "nspawn-build", "doctor", "box"))
		t.Log(r.Stdout)
		if !strings.Contains(r.Stdout, "machine box") || !strings.Contains(r.Stdout, "0 errors") {
			t.Errorf("it does not say so: %s", r)
		}
	})
	for _, f := range slices.Concat(cacheFaults, faults) {
		f.try(t, h)
	}
	checkMachine(t, h, m)
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}

func TestDoctorOnAHostWithoutSystemd(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	healthy(t, h)
	create(t, h, fixture("box", "--publish", "8443:443")...)
	beVisited(t, h, "box")
	healthy(t, h, "box")
	own := []fault{
		{
			name: "it ended by itself", inject: "nspawn-build exec box systemctl poweroff || true; while nspawn-build list | grep -q running; do sleep 0.2; done",
			id: "machine.state", about: "box", says: "does not run", exit: exitDone, fix: "nspawn-build start box",
		},
		{
			name: "what a killed supervisor leaves", inject: "mkdir -p /run/nspawn-build/machines/gone && nft add table ip nspawn-build-gone",
			id: "host.orphan", says: "nspawn-build-gone", exit: exitDone, fix: "nspawn-build doctor --fix",
		},
	}
	for _, f := range slices.Concat(own, cacheFaults, faults) {
		if !f.systemd {
			f.try(t, h)
		}
	}
	if r := want(t, exitNoMachine, h.Run(t, "nspawn-build", "doctor", "nosuch")); !strings.Contains(r.Stderr, "hint:") {
		t.Errorf("a machine that is not there: %s", r)
	}
	r := want(t, exitHost, h.Run(t, "setpriv", "--reuid=65534", "--clear-groups", "nspawn-build", "doctor"))
	if !strings.Contains(r.Stderr, "root") || !strings.Contains(r.Stderr, "sudo") {
		t.Errorf("to a user it says %s", r)
	}
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}
