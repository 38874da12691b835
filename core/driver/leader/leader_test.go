package leader

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStatFieldSurvivesHostileProgramNames(t *testing.T) {
	const rest = " S 1 2 3 4 5 4194560 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"
	tests := []struct {
		name    string
		stat    string
		field   int
		want    int64
		wantErr bool
	}{
		{"plain", "12 (systemd)" + rest, 22, 4711, false},
		{"flags", "12 (systemd)" + rest, 9, 4194560, false},
		{"blanks and parentheses", "12 (a) S 1 1 (b)" + rest, 22, 4711, false},
		{"too short", "12 (a) S 1", 22, 0, true},
		{"no name", "12 S 1", 22, 0, true},
		{"a field before the name", "12 (a)" + rest, 1, 0, true},
		{"not a number", "12 (a)" + rest, 3, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := statField(tt.stat, tt.field)
			if got != tt.want || (err != nil) != tt.wantErr {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

func TestOrdinaryProcessIsNoLeader(t *testing.T) {
	for _, pid := range []int{-1, 0, 1, os.Getpid()} {
		if _, err := Open(pid); !errors.Is(err, ErrNotLeader) {
			t.Errorf("process %d: got %v, want %v", pid, err, ErrNotLeader)
		}
	}
}

// start starts a process that is PID 1 of a pid namespace.
func start(t *testing.T) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestLeaderIsDescribed(t *testing.T) {
	begin := time.Now()
	cmd := start(t)
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })

	started, err := p.Started()
	if err != nil {
		t.Fatal(err)
	}
	if off := started.Sub(begin).Abs(); off > time.Second {
		t.Errorf("started %v away from when it was", off)
	}
	if uid, gid, err := p.RootIDs(); uid != 0 || gid != 0 || err != nil {
		t.Errorf("root is %d:%d, %v", uid, gid, err)
	}
	if !p.Alive() || p.Ending() {
		t.Error("a running leader is said to end")
	}
	if bound, err := p.CapabilityBound(); bound == 0 || err != nil {
		t.Errorf("capabilities %x, %v", bound, err)
	}
}

func TestEndedLeaderAnswersNothing(t *testing.T) {
	cmd := start(t)
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed

	if p.Alive() || !p.Ending() {
		t.Error("an ended leader is said to run")
	}
	if _, err := p.Started(); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
	if _, err := Open(cmd.Process.Pid); !errors.Is(err, ErrGone) {
		t.Errorf("opening it again: got %v, want %v", err, ErrGone)
	}
}

func TestWaitingForALeaderEndsWithItOrWithTheContext(t *testing.T) {
	cmd := start(t)
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it ran: %v", err)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		_ = cmd.Process.Kill()
	}()
	if err := p.Wait(t.Context()); err != nil {
		t.Errorf("after its end: %v", err)
	}
}

func TestInitIsAwaitedUntilItIsAnotherProgramThanItsParent(t *testing.T) {
	cmd := start(t)
	p, err := Open(cmd.Process.Pid) // sleep, the child of this test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if err := p.WaitInit(t.Context()); err != nil {
		t.Errorf("another program: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if err := p.WaitInit(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("after its end: %v", err)
	}
}

func TestLeaderThatDoesNotListenIsNotTakenToListen(t *testing.T) {
	cmd := start(t)
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.WaitListening(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("sleep handles the signal: %v", err)
	}
}

func TestCgroupIsThatOfTheUnifiedHierarchy(t *testing.T) {
	cmd := start(t)
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Cgroup()
	if err != nil {
		t.Fatal(err)
	}
	if got != "" && !strings.Contains("\n"+string(text), "\n0::"+got+"\n") {
		t.Errorf("%q is not ours, which it inherited:\n%s", got, text)
	}
}
