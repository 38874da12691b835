//go:build integration

package systemd

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// onHost is set where the tests run on a host with systemd that is theirs.
const onHost = "NSPAWN_BUILD_TEST_ON_HOST"

// TestOnAHostWithSystemd boots such a host and runs the other tests there.
func TestOnAHostWithSystemd(t *testing.T) {
	if os.Getenv(onHost) != "" {
		t.SkipNow() // this is the host
	}
	h := testhost.Start(t, testhost.Options{})
	tarball, err := testhost.MachineTarball(t.Context(), "trixie")
	if err != nil {
		t.Fatal(err)
	}
	h.CopyIn(t, tarball, "/root/machine.tar.zst")
	h.MustRun(t, "mkdir", "-p", "/var/lib/machines/"+name)
	h.MustRun(t, "tar", "-C", "/var/lib/machines/"+name, "-xf", "/root/machine.tar.zst", "--xattrs", "--numeric-owner")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.CopyIn(t, exe, "/root/systemd.test")
	r := h.RunCommand(t, testhost.Command{
		Args: []string{"/root/systemd.test", "-test.v", "-test.timeout=4m"}, Env: []string{onHost + "=1", "CI=true"},
	})
	t.Log(r.Stdout)
	if r.Exit != 0 || !strings.Contains(r.Stdout, "PASS: TestMachineIsBootedAndStopped") {
		t.Errorf("on the host: exit %d\n%s", r.Exit, r.Stderr)
	}
}

// name has the characters that other names would have to escape.
const name = "my-box.2"

var boxed = driver.Machine{Name: name, Tree: "/var/lib/machines/" + name, Interface: "ve-my-box.2"}

func hostOnly(t *testing.T) {
	t.Helper()
	if os.Getenv(onHost) == "" {
		t.Skip("run on the host that TestOnAHostWithSystemd boots")
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := New().Stop(ctx, boxed, 0); err != nil {
			t.Error(err)
		}
	})
}

func start(t *testing.T) driver.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	begin := time.Now()
	if err := New().Start(ctx, boxed); err != nil {
		lines, _ := New().Console(ctx, name, 30)
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	t.Logf("started in %v", time.Since(begin))
	s := status(t)
	if s.State != driver.Running || s.Leader == 0 || time.Since(s.Since) > time.Minute {
		t.Fatalf("started, but %+v", s)
	}
	return s
}

func status(t *testing.T) driver.Status {
	t.Helper()
	s, err := New().Status(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t *testing.T, grace time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	if err := New().Stop(ctx, boxed, grace); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %v", time.Since(begin))
	if s := status(t); s.State != driver.Stopped {
		t.Errorf("stopped, but %+v", s)
	}
	for _, gone := range [][]string{
		{"ip", "link", "show", boxed.Interface},
		{"systemctl", "is-active", Unit(name)},
		{"systemctl", "is-failed", Unit(name)},
		{"machinectl", "show", name},
	} {
		if out, err := exec.Command(gone[0], gone[1:]...).CombinedOutput(); err == nil {
			t.Errorf("after the stop, %v: %s", gone, out)
		}
	}
}

// within runs a command in the machine until it succeeds.
func within(t *testing.T, argv ...string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		s := status(t)
		code, err := inside.Command{Leader: s.Leader, Argv: argv}.Run(t.Context())
		if err == nil && code == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v inside: %d, %v", argv, code, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestMachineIsBootedAndStopped(t *testing.T) {
	hostOnly(t)
	first := start(t)
	within(t, "systemctl", "is-system-running", "--wait")
	if err := New().Start(t.Context(), boxed); err != nil {
		t.Errorf("starting a running machine: %v", err)
	}
	if again := status(t); again.Leader != first.Leader {
		t.Errorf("it was started again: %+v, was %+v", again, first)
	}
	if lines, err := New().Console(t.Context(), name, 5); err != nil || len(lines) != 5 || !strings.Contains(strings.Join(lines, " "), "OK") {
		t.Errorf("console: %q, %v", lines, err)
	}
	stop(t, 30*time.Second)
	start(t) // at once: systemd issue 24045
	begin := time.Now()
	stop(t, 30*time.Second) // at once, when its init does not listen yet
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v: it was not asked but killed", took)
	}
	stop(t, time.Second) // a stopped one
}

func TestStubbornMachineIsKilledWhenGraceIsOver(t *testing.T) {
	hostOnly(t)
	start(t)
	within(t, "systemctl", "is-system-running", "--wait")
	within(t, "systemd-run", "--quiet", "--property=TimeoutStopSec=infinity", "--property=KillSignal=SIGCONT", "--property=SendSIGKILL=no", "sleep", "1000")
	begin := time.Now()
	stop(t, 2*time.Second)
	if took := time.Since(begin); took < 2*time.Second || took > 10*time.Second {
		t.Errorf("took %v, the grace was 2 s", took)
	}
}

func TestKilledNspawnCanBeStoppedAndStarted(t *testing.T) {
	hostOnly(t)
	leader := start(t).Leader
	if out, err := exec.Command("systemctl", "kill", "--kill-whom=main", "--signal=KILL", Unit(name)).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(leader, 0) == nil {
		if time.Now().After(deadline) {
			t.Fatal("the machine outlived systemd-nspawn")
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop(t, time.Second)
	start(t)
}

func TestTreeWithoutInitIsSaidToHaveNone(t *testing.T) {
	hostOnly(t)
	for _, path := range []string{boxed.Tree + "/sbin/init", boxed.Tree + "/usr/lib/systemd/systemd"} {
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Rename(path+".away", path) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := New().Start(ctx, boxed)
	if !errors.Is(err, driver.ErrEnded) {
		t.Errorf("got %v", err)
	}
	t.Log(err)
	lines, err := New().Console(ctx, name, 20)
	if err != nil || !strings.Contains(strings.Join(lines, "\n"), "execv") {
		t.Errorf("console: %q, %v", lines, err)
	}
}

func TestMachinedBeingRestartedAllTheTimeStopsNothing(t *testing.T) {
	hostOnly(t)
	done := make(chan struct{})
	restarting := make(chan struct{})
	go func() {
		defer close(restarting)
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
				_ = exec.Command("systemctl", "restart", "systemd-machined.service").Run()
				_ = exec.Command("systemctl", "reset-failed", "systemd-machined.service").Run()
			}
		}
	}()
	start(t)
	for range 20 {
		if s := status(t); s.State != driver.Running {
			t.Errorf("%+v", s)
		}
		time.Sleep(20 * time.Millisecond)
	}
	close(done)
	<-restarting
	stop(t, 30*time.Second)
}

func TestNothingHangsPastItsDeadline(t *testing.T) {
	hostOnly(t)
	start(t)
	if out, err := exec.Command("systemctl", "kill", "--signal=STOP", "systemd-machined.service").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	defer func() { _ = exec.Command("systemctl", "kill", "--signal=CONT", "systemd-machined.service").Run() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	begin := time.Now()
	if _, err := New().Status(ctx, name); err == nil {
		t.Error("a machined that is stopped answered")
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}
