//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// console is what a running machine writes to under the direct driver.
const console = "file /run/nspawn-build/machines/box/console.log"

func TestAMachineThatIsThereIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			m := create(t, h, fixture("box", "--memory-max", "1G")...)
			boot := ssh(t, h, "root@"+m.Address.String(), "cat /proc/sys/kernel/random/boot_id").Stdout
			before := h.Calm(t, console)

			t.Run("the same command again exits 0 and changes nothing", func(t *testing.T) {
				if again := create(t, h, fixture("box", "--memory-max", "1G")...); again.Changed || again.Address != m.Address {
					t.Errorf("the machine was %+v and is %+v", m, again)
				}
			})
			t.Run("another spec exits 8 and names what differs", func(t *testing.T) {
				for args, field := range map[string]string{
					"--memory-max 2G":                              "limits.memoryMax",
					"--memory-max 1G --cpu-quota 10%":              "limits.cpuQuota",
					"--memory-max 1G --address 192.168.222.200/24": "network.address",
					"--memory-max 1G --dns 203.0.113.1":            "network.dns",
				} {
					r := h.Run(t, fixture("box", strings.Fields(args)...)...)
					if r.Exit != exitExists || !strings.Contains(r.Stderr, field) || !strings.Contains(r.Stderr, "hint:") {
						t.Errorf("%s: want exit 8 and %q, got %s", args, field, r)
					}
				}
			})
			t.Run("a plan of it says that there is nothing to do", func(t *testing.T) {
				r := want(t, exitDone, h.Run(t, append([]string{"nspawn-build", "plan"}, fixture("box", "--memory-max", "1G")[1:]...)...))
				if !strings.Contains(r.Stdout, "nothing") {
					t.Error(r)
				}
			})
			// The machine itself goes on printing.
			if diff := h.Settled(t, before, 5*time.Second, console); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
			if now := ssh(t, h, "root@"+m.Address.String(), "cat /proc/sys/kernel/random/boot_id").Stdout; now != boot || now == "" {
				t.Errorf("it was booted again: %q, before %q", now, boot)
			}
		})
	}
}

func TestAPlanTouchesNothing(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	plan := want(t, exitDone, h.Run(t, append([]string{"nspawn-build", "plan"}, fixture("box")[1:]...)...))
	dry := want(t, exitDone, h.Run(t, fixture("box", "--dry-run")...))
	if plan.Stdout != dry.Stdout {
		t.Errorf("plan and --dry-run differ:\n%s\n%s", plan.Stdout, dry.Stdout)
	}
	for _, stage := range stages {
		if !strings.Contains(plan.Stdout, stage) && stage != "limits" { // none were asked for
			t.Errorf("the plan does not speak of %s:\n%s", stage, plan.Stdout)
		}
	}
	nothingLeft(t, h, before)
}

func TestWhatIsNotThereIsSaidNotToBeThere(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	for _, verb := range []string{"status", "start", "stop", "destroy", "logs", "exec", "ssh"} {
		args := []string{"nspawn-build", verb, "nobody"}
		if verb == "exec" {
			args = append(args, "true")
		}
		r := h.Run(t, args...)
		if r.Exit != exitNoMachine || !strings.Contains(r.Stderr, "nobody") || !strings.Contains(r.Stderr, "hint:") {
			t.Errorf("%s: want exit 9, the name and a hint, got %s", verb, r)
		}
	}
	if r := want(t, exitDone, h.Run(t, "nspawn-build", "list", "--output", "json")); strings.TrimSpace(r.Stdout) != "[]" {
		t.Errorf("list: %s", r)
	}
}
