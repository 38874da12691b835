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

// killAmid runs the command line and kills the program while the stage runs.
// Some stages take a millisecond: then it takes several tries.
func killAmid(t *testing.T, h *testhost.Host, stage, name string, args []string) {
	t.Helper()
	for range 20 {
		p := h.Start(t, testhost.Command{
			Args:   append(args, "--log-format", "json"),
			KillOn: regexp.MustCompile(`"event":"started"[^\n]*"stage":"` + stage + `"`),
		})
		r := p.Wait(t, time.Minute)
		if r.Exit == exitKilled && openStage(t, h, name) == stage {
			return
		}
		if r.Exit != exitKilled && r.Exit != exitDone {
			t.Fatalf("it was neither killed nor done: %s", r)
		}
		destroy(t, h, name)
	}
	t.Fatalf("in 20 tries no kill fell into the stage %s", stage)
}

func TestAKilledRunIsResumedOrDestroyedWhereverItWas(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.WriteFile(t, "/root/password", "a password for the crash\n", "0600")
			before := h.Snapshot(t)
			for _, stage := range stages {
				t.Run("killed amid "+stage+" it is destroyed", func(t *testing.T) {
					killAmid(t, h, stage, "box", everyStage("box"))
					r := want(t, exitDone, h.Run(t, "nspawn-build", "list"))
					if !strings.Contains(r.Stdout, "box") {
						t.Errorf("list does not account for it: %s", r)
					}
					destroy(t, h, "box")
					nothingLeft(t, h, before)
				})
				t.Run("killed amid "+stage+" it is resumed", func(t *testing.T) {
					killAmid(t, h, stage, "box", everyStage("box"))
					m := create(t, h, everyStage("box", "--resume")...)
					checkMachine(t, h, m)
					if again := create(t, h, everyStage("box")...); again.Changed {
						t.Error("it was complete, and yet the same command changed something")
					}
					destroy(t, h, "box")
					nothingLeft(t, h, before)
				})
			}
		})
	}
}

func TestAKilledPluginFailsTheBootstrapAndLeavesNothing(t *testing.T) {
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
