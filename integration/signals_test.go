//go:build integration

package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// moments is how often each victim is sent a signal. With -every-signal each of
// the signals is sent that often, which takes three times as long.
var (
	moments     = flag.Int("moments", 3, "how many random moments each victim is sent a signal at")
	everySignal = flag.Bool("every-signal", false, "send each signal at that many moments")
)

var signals = []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGKILL}

// victims are what is sent a signal, as a shell pattern of the name that the
// kernel has for the process (comm, 15 bytes).
var victims = []struct {
	name, comm string
	exits      []int // that the program may have: 0 when the signal came too late or was outlived
}{
	{"the program", "nspawn-build", []int{exitDone, exitInterrupted, exitKilled}},
	{"the plugin", "nspawn-build-pl", []int{exitDone, exitBootstrap}},
	{"the tool", "pacstrap|pacman|dnf|dnf5|rpm", []int{exitDone, exitBootstrap, exitHost}}, // exitHost: it was asked for its version
}

// signalled sends a signal to every process of a name on a host, and fails when
// there is none.
func signalled(t *testing.T, h *testhost.Host, comm string, s unix.Signal) bool {
	t.Helper()
	return h.Run(t, "sh", "-c", `
		hit=1
		for p in /proc/[0-9]*; do
			read -r name 2>/dev/null <$p/comm || continue
			case $name in `+comm+`) kill -"$0" "${p#/proc/}" 2>/dev/null && hit=0 ;; esac
		done
		exit $hit`, fmt.Sprint(int(s))).Exit == 0
}

// TestASignalAtAnyMomentLeavesNothing sends signals to the program, to its
// plugin and to the distribution's own tool.
func TestASignalAtAnyMomentLeavesNothing(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, options(t, testhost.Options{}, arch, fedora)))
	for _, d := range []distribution{arch, fedora} {
		t.Run(d.name, func(t *testing.T) {
			args := d.command(t, h, "box", "--no-boot", "--no-cache")
			create(t, h, args...) // packages that are kept on the host are there from now on
			destroy(t, h, "box")
			before := h.Snapshot(t)
			begin := time.Now()
			create(t, h, args...)
			whole := time.Since(begin)
			destroy(t, h, "box")
			rounds := *moments
			if *everySignal {
				rounds *= len(signals)
			}
			hits := 0
			for _, victim := range victims {
				for round := range rounds {
					s := signals[round%len(signals)]
					after := time.Duration(rand.Int64N(int64(whole)))
					p := h.Start(t, testhost.Command{Args: args})
					time.Sleep(after)
					if signalled(t, h, victim.comm, s) {
						hits++
					}
					r := p.Wait(t, 2*time.Minute)
					what := fmt.Sprintf("%s was sent %s after %s of about %s", victim.name, unix.SignalName(s), after, whole)
					// Before it listens, a signal ends it as it would any program.
					deaf := after < 100*time.Millisecond && r.Exit == 128+int(s)
					if !slices.Contains(victim.exits, r.Exit) && !deaf {
						t.Errorf("%s: %s", what, r)
					}
					if r := h.Run(t, "nspawn-build", "destroy", "box"); r.Exit != exitDone && r.Exit != exitNoMachine {
						t.Fatalf("%s: it cannot be destroyed: %s", what, r)
					}
					if diff := h.Settled(t, before, 10*time.Second); diff != "" {
						t.Errorf("%s: this is left:\n%s\nthe run: %s", what, diff, r)
						before = h.Snapshot(t) // it is said once, and the rest is tried as well
					}
				}
				create(t, h, args...)
				destroy(t, h, "box")
			}
			if least := len(victims) * rounds / 3; hits < least {
				t.Errorf("only %d signals met anything, of %d", hits, len(victims)*rounds)
			}
			nothingLeft(t, h, before)
		})
	}
}
