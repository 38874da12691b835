package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"golang.org/x/sys/unix"
)

// machine starts a process that is PID 1 of namespaces of its own, which is
// all of a machine that this package sees.
func machine(t *testing.T, userNamespace bool, before ...string) int {
	t.Helper()
	_, err := exec.LookPath("nsenter")
	if os.Getuid() != 0 || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root and nsenter")
		}
		t.Skip("needs root and nsenter")
	}
	argv := append(before, "sleep", "60")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
	}
	if userNamespace {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1 << 20, Size: 65536}}
		cmd.SysProcAttr.GidMappings = cmd.SysProcAttr.UidMappings
		cmd.SysProcAttr.Credential = &syscall.Credential{}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func TestExitStatusIsTheCommandsOwn(t *testing.T) {
	pid := machine(t, true)
	tests := []struct {
		name string
		argv []string
		want int
	}{
		{"success", []string{"true"}, 0},
		{"failure", []string{"false"}, 1},
		{"any number", []string{"sh", "-c", "exit 77"}, 77},
		{"the highest", []string{"sh", "-c", "exit 255"}, 255},
		{"ended by a signal", []string{"sh", "-c", "kill -TERM $$"}, 143},
		{"killed", []string{"sh", "-c", "kill -KILL $$"}, 137},
		{"not found", []string{"no-such-command"}, ExitNotFound},
		{"not executable", []string{"/etc/passwd"}, ExitNotExecutable},
		{"an argument that looks like an option", []string{"sh", "-c", `test "$0" = --help`, "--help"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Command{Leader: pid, Argv: tt.argv}.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("exit status %d, want %d", got, tt.want)
			}
		})
	}
}

func TestCommandSeesTheMachineAndNothingOfTheHost(t *testing.T) {
	t.Setenv("SECRET_OF_THE_HOST", "hunter2")
	leak, err := os.Open("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leak.Close() })

	for _, userNamespace := range []bool{true, false} {
		t.Run(fmt.Sprintf("user namespace %v", userNamespace), func(t *testing.T) {
			pid := machine(t, userNamespace)
			script := `echo "$$ is not 1"; id -u; id -g; id -G; pwd; env | sort; ls /proc/self/fd`
			// The test's machine has the host's /proc: nsenter's view of it is enough for fd.
			out, code, err := Command{Leader: pid, Argv: []string{"sh", "-c", script}, Env: []string{"A=b c", "TERM=linux"}}.Output(t.Context(), 1<<16)
			if err != nil || code != 0 {
				t.Fatal(code, err)
			}
			lines := strings.Split(string(out), "\n")
			got := lines[1 : len(lines)-1]
			want := []string{
				"0", "0", "0", "/",
				"A=b c", "HOME=/root", "LANG=C.UTF-8", "LOGNAME=root",
				"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				"PWD=/", "TERM=linux", "USER=root",
			}
			if diff := cmp.Diff(want, got[:min(len(want), len(got))]); diff != "" {
				t.Errorf("inside (-want +got):\n%s", diff)
			}
			if strings.Contains(string(out), "hunter2") {
				t.Error("the host's environment is visible inside")
			}
		})
	}
}

func TestNoDescriptorButThreePipesIsInherited(t *testing.T) {
	pid := machine(t, true)
	// One that our own parent left open for everybody.
	if _, err := unix.Dup(0); err != nil {
		t.Fatal(err)
	}
	// In a fresh /proc of the machine's own pid namespace.
	script := `mount -t proc proc /proc 2>/dev/null; for f in /proc/self/fd/*; do readlink "$f"; done`
	out, _, err := Command{Leader: pid, Argv: []string{"bash", "-c", script}}.Output(t.Context(), 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "pipe:") && !strings.HasPrefix(line, "/proc/") {
			t.Errorf("the command inherited %s", line)
		}
	}
	if !strings.Contains(string(out), "pipe:") {
		t.Errorf("nothing was listed: %q", out)
	}
}

func TestStandardStreamsCanBeReopenedInside(t *testing.T) {
	pid := machine(t, true)
	script := `mount -t proc proc /proc && echo reopened >/proc/self/fd/1`
	out, code, err := Command{Leader: pid, Argv: []string{"sh", "-c", script}}.Output(t.Context(), 1<<16)
	if err != nil || code != 0 || string(out) != "reopened\n" {
		t.Errorf("got %q, %d, %v", out, code, err)
	}
}

func TestCapabilitiesAreTheMachinesOwn(t *testing.T) {
	pid := machine(t, false, "setpriv", "--bounding-set", "-sys_time,-sys_module")
	p, err := leader.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	for { // until setpriv has done its work
		name, err := p.Read("comm")
		if err != nil {
			t.Fatal(err)
		}
		if string(name) == "sleep\n" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	bound, err := p.CapabilityBound()
	if err != nil {
		t.Fatal(err)
	}
	script := "mount -t proc proc /proc && grep CapBnd /proc/self/status"
	out, _, err := Command{Leader: pid, Argv: []string{"unshare", "-m", "sh", "-c", script}}.Output(t.Context(), 4096)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("CapBnd:\t%016x\n", bound); string(out) != want {
		t.Errorf("inside: %q, the machine's leader: %q", out, want)
	}
}

func TestStreams(t *testing.T) {
	pid := machine(t, true)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var stdout, stderr bytes.Buffer
	code, err := Command{
		Leader: pid, Argv: []string{"sh", "-c", "cat; echo problem >&2; exit 3"},
		Stdin: bytes.NewReader(big), Stdout: &stdout, Stderr: &stderr,
	}.Run(t.Context())
	if err != nil || code != 3 {
		t.Fatal(code, err)
	}
	if !bytes.Equal(stdout.Bytes(), big) {
		t.Errorf("%d bytes came back of %d", stdout.Len(), len(big))
	}
	if stderr.String() != "problem\n" {
		t.Errorf("stderr %q", stderr.String())
	}
}

func TestOutputIsBounded(t *testing.T) {
	pid := machine(t, true)
	out, code, err := Command{Leader: pid, Argv: []string{"sh", "-c", "yes | head -c 5000000"}}.Output(t.Context(), 1000)
	if err != nil || code != 0 || len(out) != 1000 {
		t.Errorf("%d bytes, exit %d, %v", len(out), code, err)
	}
}

func TestSlowReaderLosesNothing(t *testing.T) {
	pid := machine(t, true)
	r, w := io.Pipe()
	go func() {
		_, err := Command{Leader: pid, Argv: []string{"sh", "-c", "head -c 60000 /dev/zero"}, Stdout: w}.Run(t.Context())
		w.CloseWithError(err)
	}()
	time.Sleep(2 * linger) // the command is long gone by now
	out, err := io.ReadAll(r)
	if err != nil || len(out) != 60000 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestRunDoesNotWaitForWhatTheCommandLeftRunning(t *testing.T) {
	pid := machine(t, true)
	begin := time.Now()
	out, code, err := Command{Leader: pid, Argv: []string{"sh", "-c", "echo one; sleep 30 &"}}.Output(t.Context(), 100)
	if err != nil || code != 0 || string(out) != "one\n" {
		t.Errorf("%q, %d, %v", out, code, err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestBlockedStandardInputDoesNotHoldTheCommandUp(t *testing.T) {
	pid := machine(t, true)
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	code, err := Command{Leader: pid, Argv: []string{"true"}, Stdin: r}.Run(t.Context())
	if err != nil || code != 0 {
		t.Error(code, err)
	}
}

func TestCancellingKillsTheCommandInside(t *testing.T) {
	pid := machine(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := Command{Leader: pid, Argv: []string{"sh", "-c", "echo up; sleep 4711; true"}, Stdout: w}.Run(ctx)
		ended <- err
	}()
	if _, err := io.ReadFull(r, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for exec.Command("pgrep", "-f", "^sleep 4711$").Run() == nil {
		if time.Now().After(deadline) {
			t.Fatal("the command still runs inside")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestMachineThatStopsIsSaidToHave(t *testing.T) {
	pid := machine(t, true)
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := Command{Leader: pid, Argv: []string{"sh", "-c", "echo up; sleep 60"}, Stdout: w}.Run(t.Context())
		ended <- err
	}()
	if _, err := io.ReadFull(r, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrStopped) {
		t.Errorf("got %v, want %v", err, ErrStopped)
	}
}

func TestProcessThatIsNoLeaderIsRefused(t *testing.T) {
	for _, pid := range []int{0, -1, 1, os.Getpid()} {
		_, err := Command{Leader: pid, Argv: []string{"true"}}.Run(t.Context())
		if !errors.Is(err, leader.ErrNotLeader) {
			t.Errorf("process %d: got %v", pid, err)
		}
	}
}

func TestEnvironmentRefusesWhatActsOnTheHost(t *testing.T) {
	tests := []struct {
		entry string
		want  string // part of the error; empty for none
	}{
		{"A=b", ""},
		{"EMPTY=", ""},
		{"LD_PRELOAD=/evil.so", "LD_PRELOAD"},
		{"LD_LIBRARY_PATH=/tmp", "LD_LIBRARY_PATH"},
		{"GLIBC_TUNABLES=x", "GLIBC_TUNABLES"},
		{"novalue", "KEY=VALUE"},
		{"=x", "KEY=VALUE"},
		{"A=b\x00C=d", "KEY=VALUE"},
	}
	for _, tt := range tests {
		_, err := environment([]string{tt.entry})
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%q: %v", tt.entry, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%q: got %v, want an error naming %s", tt.entry, err, tt.want)
		}
	}
}
