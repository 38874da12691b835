//go:build integration

package integration

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

func TestAnOriginDoesNotStayFrozenWhenItsCloneIsKilled(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			box := create(t, h, fixture("box")...)
			killed := 0
			for range 3 {
				p := h.Start(t, testhost.Command{
					Args:   clone("box", "twin", "--live", "--log-format", "json"),
					KillOn: regexp.MustCompile(`"msg":"bootstrap: copy"`),
				})
				if r := p.Wait(t, time.Minute); r.Exit == exitKilled {
					killed++
				}
				want(t, exitDone, ssh(t, h, "root@"+box.Address.String(), "true"))
				if r := h.Run(t, "nspawn-build", "destroy", "twin"); r.Exit != exitDone {
					t.Errorf("it cannot be destroyed: %s", r)
				}
			}
			if killed == 0 {
				t.Error("no run was killed while it copied")
			}
			h.Eventually(t, 10*time.Second, "sh", "-c", "! pgrep -f [h]old-still") // it has nobody left to hold it for
			if h.Exists(t, "/run/nspawn-build/locks") {
				t.Errorf("locks are left behind")
			}
			if left := h.MustRun(t, "sh", "-c", "ls -A /root/containers | grep -vx -e box -e '.#box.lck' || :"); left != "" {
				t.Errorf("beside the tree of the origin, and the lock of its systemd-nspawn: %q", left)
			}
		})
	}
}

func TestACloneThatCannotBeIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	create(t, h, fixture("box", "--no-boot", "--publish", "8080:80")...)
	create(t, h, fixture("other", "--no-boot")...)
	before := h.Snapshot(t)
	for _, c := range []struct {
		what string
		exit int
		says string
		args []string
	}{
		{"an origin that is not there", exitNoMachine, "nobody", clone("nobody", "twin")},
		{"a name that is another machine's", exitExists, "clone of", clone("box", "other")},
		{"its own name", exitUsage, "is the machine that is to be cloned", clone("box", "box")},
		{"no name", exitUsage, "no name", []string{"nspawn-build", "clone", "box"}},
		{"a name too many", exitUsage, "unexpected", clone("box", "a", "b")},
		{"a name that is none", exitUsage, "name:", clone("box", "a_b")},
		{"a command's name", exitUsage, "is a command", clone("box", "list")},
		{"an address that is none", exitUsage, "network.address", clone("box", "twin", "--address", "here")},
		{"what cannot be given to a clone", exitUsage, "distro", clone("box", "twin", "--distro", "fixture")},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := h.Run(t, c.args...)
			if r.Exit != c.exit || !strings.Contains(r.Stderr, c.says) || !strings.Contains(r.Stderr, "hint:") {
				t.Errorf("want exit %d, %q and a hint, got %s", c.exit, c.says, r)
			}
		})
	}
	for _, lock := range []string{"box", "twin"} {
		t.Run("another run is at work on "+lock, func(t *testing.T) {
			r := h.Run(t, "sh", "-c", `mkdir -p -m 700 /run/nspawn-build/locks
				flock /run/nspawn-build/locks/machine-$1 nspawn-build clone box twin; s=$?
				rm /run/nspawn-build/locks/machine-$1; rmdir /run/nspawn-build/locks /run/nspawn-build; exit $s`, "sh", lock)
			if r.Exit != exitExists || !strings.Contains(r.Stderr, "at work") || !strings.Contains(r.Stderr, lock) {
				t.Errorf("want exit %d and why, got %s", exitExists, r)
			}
		})
	}
	t.Run("and a plan touches nothing either", func(t *testing.T) {
		r := want(t, exitDone, h.Run(t, clone("box", "twin", "--dry-run")...))
		if !strings.Contains(r.Stdout, "clone of box") || strings.Contains(r.Stdout, "password") {
			t.Error(r)
		}
		if !strings.Contains(r.Stderr, "8080:80") || !strings.Contains(r.Stderr, "--publish") {
			t.Errorf("it does not say that ports are dropped: %s", r)
		}
	})
	if diff := h.Settled(t, before, 5*time.Second); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
}

func TestACloneThatWasKilledIsContinuedOrDestroyed(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	box := create(t, h, fixture("box", "--no-boot")...)
	sum := treeSum(t, h, box.Tree)
	before := h.Snapshot(t)
	start := time.Now()
	create(t, h, clone("box", "twin")...)
	whole := time.Since(start)
	destroy(t, h, "twin")
	killed := func() {
		t.Helper()
		p := h.Start(t, testhost.Command{Args: clone("box", "twin")})
		time.Sleep(time.Duration(rand.Int64N(int64(whole))))
		_ = p.Signal(syscall.SIGKILL) // it may have been quicker this time
		if r := p.Wait(t, time.Minute); r.Exit != exitKilled && r.Exit != exitDone {
			t.Fatalf("it was neither killed nor done: %s", r)
		}
	}
	for round := range 8 {
		killed()
		if round%2 == 0 {
			if r := h.Run(t, "nspawn-build", "create", "--resume", "twin"); r.Exit != exitDone && r.Exit != exitNoMachine {
				t.Fatalf("it cannot be resumed: %s", r)
			}
		}
		twin := create(t, h, clone("box", "twin")...)
		checkMachine(t, h, twin)
		destroy(t, h, "twin")

		killed()
		if r := h.Run(t, "nspawn-build", "destroy", "twin"); r.Exit != exitDone && r.Exit != exitNoMachine {
			t.Fatalf("it cannot be destroyed: %s", r)
		}
		if diff := h.Settled(t, before, 5*time.Second); diff != "" {
			t.Fatalf("this is left behind:\n%s", diff)
		}
		if left := h.MustRun(t, "ls", "-A", "/root/containers"); strings.TrimSpace(left) != "box" {
			t.Fatalf("beside the tree of the origin: %q", left)
		}
	}
	for _, stage := range []string{"bootstrap", "network", "boot"} {
		killIn(t, h, stage, "twin", clone("box", "twin"))
		create(t, h, clone("box", "twin")...)
		destroy(t, h, "twin")
	}
	if now := treeSum(t, h, box.Tree); now != sum {
		t.Error("the tree of the origin has changed")
	}
}
