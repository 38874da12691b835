//go:build integration

package integration

import (
	"regexp"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestWhatIsDoneMeanwhileEndsInADefinedState has a machine made, destroyed,
// started and stopped while somebody else is at work on it.
func TestWhatIsDoneMeanwhileEndsInADefinedState(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			refused := func(t *testing.T, args ...string) {
				t.Helper()
				r := want(t, exitExists, h.Run(t, append([]string{"nspawn-build"}, args...)...))
				if !regexp.MustCompile(`box: another nspawn-build is at work on it\n(.*\n)*hint: `).MatchString(r.Stderr) {
					t.Errorf("%v: it does not say what is in the way: %s", args, r)
				}
			}
			t.Run("all else while it is made", func(t *testing.T) {
				making := h.Start(t, testhost.Command{Args: fixture("box", "--option", "delay=8s")})
				h.Eventually(t, time.Minute, "test", "-s", "/var/lib/nspawn-build/machines/box.json")
				for _, verb := range []string{"destroy", "start", "stop", "reboot", "remove"} {
					refused(t, verb, "box")
				}
				want(t, exitExists, h.Run(t, "nspawn-build", "destroy", "--all"))
				want(t, exitDone, making.Wait(t, 5*time.Minute))
				if got := list(t, h)["box"].State; got != "running" {
					t.Errorf("it is %s", got)
				}
			})
			t.Run("starting it twice", func(t *testing.T) {
				want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
				var both []*testhost.Process
				for range 2 {
					both = append(both, h.Start(t, testhost.Command{Args: []string{"nspawn-build", "start", "box", "--timeout", "4m"}}))
				}
				started := 0
				for _, p := range both {
					switch r := p.Wait(t, 5*time.Minute); r.Exit {
					case exitDone:
						started++
					case exitExists:
					default:
						t.Errorf("neither started nor refused: %s", r)
					}
				}
				if all := list(t, h); started == 0 || all["box"].State != "running" {
					t.Errorf("%d started it; it is %s", started, all["box"].State)
				}
			})
			t.Run("making it while it is destroyed", func(t *testing.T) {
				destroying := h.Start(t, testhost.Command{Args: []string{"nspawn-build", "destroy", "box"}})
				const journal = "/var/lib/nspawn-build/journal/box.jsonl"
				h.Eventually(t, time.Minute, "sh", "-c", "grep -q undone "+journal+" || ! test -e "+journal)
				// Again and again, until one of them finds it gone.
				for exit := exitExists; exit != exitDone; {
					r := h.Run(t, fixture("box", "--output", "json", "--timeout", "4m")...)
					if exit = r.Exit; exit != exitDone && exit != exitExists {
						t.Fatalf("neither made nor refused: %s", r)
					}
				}
				want(t, exitDone, destroying.Wait(t, 5*time.Minute))
				checkMachine(t, h, create(t, h, fixture("box")...))
			})
			t.Run("destroying it many times at once", func(t *testing.T) {
				var all []*testhost.Process
				for range 5 {
					all = append(all, h.Start(t, testhost.Command{Args: []string{"nspawn-build", "destroy", "box"}}))
				}
				gone := 0
				for _, p := range all {
					switch r := p.Wait(t, 5*time.Minute); r.Exit {
					case exitDone:
						gone++
					case exitExists, exitNoMachine:
					default:
						t.Errorf("neither destroyed nor refused: %s", r)
					}
				}
				if gone != 1 {
					t.Errorf("%d destroyed it", gone)
				}
			})
			nothingLeft(t, h, before)
		})
	}
}
