//go:build integration

package integration

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// stages are those of the pipeline, in running order.
var stages = []string{"bootstrap", "password", "services", "network", "settings", "limits", "boot"}

// everyStage is a command line that gives every stage something to do.
func everyStage(name string, more ...string) []string {
	return append(fixture(name, "--memory-max", "1G", "--password-file", "/root/password", "--ssh-key", "/root/.ssh/id_ed25519.pub"), more...)
}

// openStage is the stage that a journal says was begun and never ended.
func openStage(t *testing.T, h *testhost.Host, name string) string {
	t.Helper()
	var open string
	journal := h.Run(t, "cat", "/var/lib/nspawn-build/journal/"+name+".jsonl") // none is an answer, too
	for line := range strings.Lines(journal.Stdout) {
		var e struct{ Stage, Event string }
		if json.Unmarshal([]byte(line), &e) != nil {
			continue // the very line that the kill cut off
		}
		if open = ""; e.Event == "begin" {
			open = e.Stage
		}
	}
	return open
}

// killIn runs the command line and kills the program when the stage begins. It
// tells the stage that was cut off: a later one, or none, where stages are over
// within the millisecond that a kill takes.
func killIn(t *testing.T, h *testhost.Host, stage, name string, args []string) string {
	t.Helper()
	p := h.Start(t, testhost.Command{
		Args:   append(slices.Clone(args), "--log-format", "json"),
		KillOn: regexp.MustCompile(`"event":"started"[^\n]*"stage":"` + stage + `"`),
	})
	r := p.Wait(t, 2*time.Minute)
	if r.Exit != exitKilled && r.Exit != exitDone {
		t.Fatalf("it was neither killed nor done: %s", r)
	}
	return openStage(t, h, name)
}

// The issue asks for every stage; a crash asks for nothing. Wherever it comes,
// what it leaves is accounted for.
func TestARunThatWasKilledAtAnyMomentIsDestroyed(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.WriteFile(t, "/root/password", "a password for the crash\n", "0600")
	before := h.Snapshot(t)
	start := time.Now()
	create(t, h, everyStage("box")...)
	whole := time.Since(start)
	destroy(t, h, "box")
	for range 15 {
		p := h.Start(t, testhost.Command{Args: append(everyStage("box"), "--log-format", "json")})
		after := time.Duration(rand.Int64N(int64(whole)))
		time.Sleep(after)
		_ = p.Signal(syscall.SIGKILL) // it may have been quicker this time
		r := p.Wait(t, time.Minute)
		if r.Exit != exitKilled && r.Exit != exitDone {
			t.Fatalf("killed after %s: %s", after, r)
		}
		if d := h.Run(t, "nspawn-build", "destroy", "box"); d.Exit != exitDone && d.Exit != exitNoMachine {
			t.Fatalf("killed after %s, it cannot be destroyed: %s\nthe run: %s", after, d, r)
		}
		if diff := h.Settled(t, before, 5*time.Second); diff != "" {
			t.Errorf("killed after %s of about %s, this is left behind:\n%s\nthe run: %s", after, whole, diff, r)
			before = h.Snapshot(t) // it is said once, and the rest is tried as well
		}
	}
	nothingLeft(t, h, before)
}

// tries is how often a kill may miss a short stage.
const tries = 20

// killAmid kills the program while the stage runs, however often it takes.
func killAmid(t *testing.T, h *testhost.Host, stage, name string, args []string) {
	t.Helper()
	for range tries {
		if killIn(t, h, stage, name, args) == stage {
			return
		}
		if r := h.Run(t, "nspawn-build", "destroy", name); r.Exit != exitDone && r.Exit != exitNoMachine {
			t.Fatalf("killed about the stage %s, it cannot be destroyed: %s", stage, r)
		}
	}
	t.Fatalf("in %d tries no kill fell into the stage %s", tries, stage)
}

func TestARunThatWasKilledIsDestroyedWhereverItWas(t *testing.T) {
	t.Parallel()
	for i, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.WriteFile(t, "/root/password", "a password for the crash\n", "0600")
			before := h.Snapshot(t)
			amid := stagesToRun(t, h)
			if i > 0 { // but for these two, what a stage does is the same on all hosts
				amid = []string{"bootstrap", "boot"}
			}
			for _, stage := range amid {
				t.Run("killed amid "+stage, func(t *testing.T) {
					killAmid(t, h, stage, "box", everyStage("box"))
					r := want(t, exitDone, h.Run(t, "nspawn-build", "list"))
					if !strings.Contains(r.Stdout, "box") {
						t.Errorf("list does not account for it: %s", r)
					}
					destroy(t, h, "box")
					nothingLeft(t, h, before)
				})
			}
		})
	}
}

func TestARunThatIsKilledInEveryStageIsResumedEachTime(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.WriteFile(t, "/root/password", "a password for the crash\n", "0600")
			before := h.Snapshot(t)
			pending := stagesToRun(t, h)
			for round := 0; len(pending) > 0; round++ {
				if round == tries {
					t.Fatalf("in %d rounds no kill fell into these stages: %q", tries, pending)
				}
				pending = killedAndResumed(t, h, pending)
				destroy(t, h, "box")
			}
			nothingLeft(t, h, before)
		})
	}
}

// stagesToRun are the stages that have something to do for the machine: where
// limits are no files, theirs has not.
func stagesToRun(t *testing.T, h *testhost.Host) []string {
	t.Helper()
	r := want(t, exitDone, h.Run(t, everyStage("box", "--dry-run", "--output", "json")...))
	var plan struct {
		Stages []struct {
			Stage   string
			Changes []struct{ Subject string }
		}
	}
	if err := json.Unmarshal([]byte(r.Stdout), &plan); err != nil {
		t.Fatalf("the plan is not JSON: %v: %s", err, r)
	}
	var all []string
	for _, s := range plan.Stages {
		if len(s.Changes) > 0 {
			all = append(all, s.Stage)
		}
	}
	if least := len(stages) - 1; len(all) < least {
		t.Fatalf("only these stages have something to do: %q", all)
	}
	return all
}

// killedAndResumed makes a machine in as many runs as there are pending stages,
// each killed where it begins one of them, and returns those that were missed.
func killedAndResumed(t *testing.T, h *testhost.Host, pending []string) []string {
	t.Helper()
	args := everyStage("box")
	missed := slices.Clone(pending)
	for _, stage := range pending {
		open := killIn(t, h, stage, "box", args)
		missed = slices.DeleteFunc(missed, func(s string) bool { return s == open })
		if h.Run(t, "nspawn-build", "status", "box").Exit == exitDone { // else it was killed before it had begun
			args = everyStage("box", "--resume")
		}
	}
	m := create(t, h, args...)
	checkMachine(t, h, m)
	if again := create(t, h, everyStage("box")...); again.Changed {
		t.Error("it was complete, and yet the same command changed something")
	}
	return missed
}

func TestAKilledPluginFailsTheBootstrapAndLeavesNothing(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	for _, c := range []struct{ name, option, when string }{
		{"while it waits", "delay=30s", `"msg":"bootstrap: wait"`},
		{"while its tool runs", "delay=0s", `"msg":"bootstrap: unpack"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := h.Start(t, testhost.Command{Args: fixture("box", "--option", c.option, "--log-format", "json")})
			awaitText(t, p, c.when)
			h.MustRun(t, "sh", "-c", `
				for exe in /proc/[0-9]*/exe; do
					case $(readlink $exe) in */nspawn-build-plugin-fixture) pid=${exe%/exe}; kill -9 ${pid#/proc/}; hit=1;; esac
				done; test -n "$hit"`)
			r := want(t, exitBootstrap, p.Wait(t, 20*time.Second))
			if !strings.Contains(r.Stderr, "plugin") {
				t.Errorf("it does not say that the plugin ended: %s", r)
			}
			nothingLeft(t, h, before)
		})
	}
}

func TestAFailingBootstrapLeavesNothing(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	for _, how := range []string{"before", "after", "panic"} {
		t.Run(how, func(t *testing.T) {
			r := want(t, exitBootstrap, h.Run(t, fixture("box", "--option", "fail="+how)...))
			if how != "panic" && (!strings.Contains(r.Stderr, "fails on purpose") || !strings.Contains(r.Stderr, "hint: leave out") ||
				!strings.Contains(r.Stderr, "the last line of the fixture")) {
				t.Errorf("it does not say what failed: %s", r)
			}
			nothingLeft(t, h, before)
		})
	}
	t.Run("unless it is to be kept", func(t *testing.T) {
		want(t, exitBootstrap, h.Run(t, fixture("box", "--option", "fail=after", "--on-error", "keep")...))
		if r := want(t, exitDone, h.Run(t, "nspawn-build", "list")); !strings.Contains(r.Stdout, "box") {
			t.Errorf("list does not account for it: %s", r)
		}
		destroy(t, h, "box")
		nothingLeft(t, h, before)
	})
}

// awaitText waits until standard error of a running command holds the text.
func awaitText(t *testing.T, p *testhost.Process, text string) {
	t.Helper()
	if !p.Await(p.Stderr, time.Minute, func(s string) bool { return strings.Contains(s, text) }) {
		t.Fatalf("it never said %q:\n%s", text, p.Stderr)
	}
}
