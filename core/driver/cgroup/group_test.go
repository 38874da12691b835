package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// real makes a group on this host.
func real(t *testing.T) Group {
	t.Helper()
	h, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	g := h.Group(fmt.Sprintf("nspawn-build-test-%d", os.Getpid()))
	if err := g.Create(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("needs writable cgroups: ", err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's has ended
		if err := errors.Join(g.Kill(ctx), g.Remove(ctx)); err != nil {
			t.Error(err)
		}
	})
	return g
}

func start(t *testing.T, g Group, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- g.Start(cmd)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestProcessIsInItsGroupFromBirthAndWeAreNot(t *testing.T) {
	g := real(t)
	before, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	cmd := start(t, g, "sleep", "60")
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "/"+g.name+"\n"); n != len(g.dirs()) {
		t.Errorf("it is in %d of %d hierarchies:\n%s", n, len(g.dirs()), text)
	}
	after, err := os.ReadFile("/proc/self/cgroup")
	if err != nil || string(after) != string(before) {
		t.Errorf("we are elsewhere now: %s, %v", after, err)
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if err := g.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestKillReachesWhatForksAndGroupsBelow(t *testing.T) {
	g := real(t)
	var procs []string
	for _, dir := range g.dirs() {
		below := filepath.Join(dir, "payload", "deeper")
		if err := os.MkdirAll(below, 0o755); err != nil {
			t.Fatal(err)
		}
		procs = append(procs, filepath.Join(below, "cgroup.procs"))
	}
	cmd := start(t, g, "sh", "-c", `for p; do echo $$ >$p; done; while :; do sleep 100 & sleep 0.01; done`, "sh", procs[0])
	for _, p := range procs[1:] {
		if err := write(p, fmt.Sprint(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _ = cmd.Wait() }()
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.Processes(); err != nil || len(pids) != 0 {
		t.Errorf("still there: %v, %v", pids, err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range g.dirs() {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", dir, err)
		}
	}
}
