//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestWhatAMachineReachesAndPublishesIsEdited changes what the host does for the
// link of a machine that exists, and takes it back again.
func TestWhatAMachineReachesAndPublishesIsEdited(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.Internet(t)
			before := h.Snapshot(t)
			m := create(t, h, fixture("box", "--publish", "8080:7000")...)
			edited := want(t, exitDone, h.Run(t, fixture("box", "--apply", "--restart", "--publish", "8080:7000", "--publish", "8081:7000", "--egress", "internet", "--alias")...))
			if !strings.Contains(edited.Stdout, "network.publish") || !strings.Contains(edited.Stdout, "restarted") {
				t.Errorf("it does not say what was changed: %s", edited)
			}
			answerInside(t, h, "box", "7000")
			for _, port := range []string{"8080", "8081"} {
				if line, err := h.FromOutside(t, "tcp4", testhost.HostAddress+":"+port); err != nil {
					t.Errorf("port %s is not reached: %q, %v", port, line, err)
				}
			}
			answer(t, h, "7001")
			if got := reached(t, h, "box", "tcp/"+hostSide(m)+"/7001"); len(got) != 0 {
				t.Errorf("it reaches the host still: %v", got)
			}
			h.MustRun(t, "ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "box", "true")
			taken := h.Run(t, fixture("box", "--apply", "--publish", "7001:7000")...)
			if taken.Exit != exitUsage || !strings.Contains(taken.Stderr, "network.publish") {
				t.Errorf("a port that a process has: %s", taken)
			}
			want(t, exitDone, h.Run(t, fixture("box", "--apply", "--restart", "--publish", "8080:7000")...))
			answerInside(t, h, "box", "7000")
			if line, err := h.FromOutside(t, "tcp4", testhost.HostAddress+":8080"); err != nil {
				t.Errorf("what stays published is not reached: %q, %v", line, err)
			}
			if line, err := h.FromOutside(t, "tcp4", testhost.HostAddress+":8081"); err == nil {
				t.Errorf("what is no longer published is reached: %q", line)
			}
			if got := reached(t, h, "box", "tcp/"+hostSide(m)+"/7001"); len(got) != 1 {
				t.Error("it does not reach the host again")
			}
			if r := h.Run(t, "grep", "-w", "box", "/etc/hosts"); r.Exit == 0 {
				t.Errorf("the host knows its plain name still: %s", r)
			}
			// A machine that reboots itself has what was changed meanwhile.
			want(t, exitDone, h.Run(t, fixture("box", "--apply", "--publish", "8082:7000", "--egress", "none")...))
			want(t, exitDone, h.Run(t, "nspawn-build", "reboot", "box"))
			answerInside(t, h, "box", "7000")
			if line, err := h.FromOutside(t, "tcp4", testhost.HostAddress+":8082"); err != nil {
				t.Errorf("what is published since it rebooted is not reached: %q, %v", line, err)
			}
			if line, err := h.FromOutside(t, "tcp4", testhost.HostAddress+":8080"); err == nil {
				t.Errorf("what is not published since it rebooted is reached: %q", line)
			}
			if got := reached(t, h, "box", "tcp/"+hostSide(m)+"/7001"); len(got) != 0 {
				t.Errorf("it reaches the host still: %v", got)
			}
			// All of it is taken back while the machine runs, which is reached throughout.
			r := want(t, exitDone, h.Run(t, fixture("box", "--apply")...))
			if strings.Contains(r.Stderr, "comes before ours") {
				t.Errorf("the link was given to somebody else meanwhile: %s", r)
			}
			want(t, exitDone, h.Run(t, "nspawn-build", "restart", "box"))
			if line, err := h.FromOutside(t, "tcp4", testhost.HostAddress+":8082"); err == nil {
				t.Errorf("what is no longer published is reached: %q", line)
			}
			destroy(t, h, "box")
			if diff := h.Settled(t, before, 10*time.Second, answeringProcesses(t, h)...); diff != "" {
				t.Errorf("this is left behind:\n%s", diff)
			}
		})
	}
}
