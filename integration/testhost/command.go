package testhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program to run on a host, as root, in all of the host's
// namespaces and with a clean environment.
type Command struct {
	Args    []string
	Stdin   string
	Env     []string      // KEY=VALUE beside PATH, HOME, LANG and TERM
	Timeout time.Duration // how long it may take; 5 minutes unless set
	// KillOn sends SIGKILL to a command that was started by Start, in the very
	// moment in which what it wrote to standard error matches.
	KillOn *regexp.Regexp

	stdin    *os.File // in place of Stdin
	terminal *os.File // in place of all three streams
}

// Result is how a command ended.
type Result struct {
	Stdout string
	Stderr string
	Exit   int // 128 plus the signal when one ended it
	// Held says that the command had ended, and yet something that it left
	// behind still held its output open: `$(command)` would hang on it.
	Held bool
}

// String shows everything, for the message of a test that fails.
func (r Result) String() string {
	return fmt.Sprintf("exit %d (output held open: %v)\n--- stdout\n%s\n--- stderr\n%s", r.Exit, r.Held, legible(r.Stdout), legible(r.Stderr))
}

// legible is as much of the end of an output as somebody may read in a log.
func legible(s string) string {
	const most = 64 << 10
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("(%d bytes left out)\n%s", len(s)-most, s[len(s)-most:])
}

// defaultTimeout bounds commands that set none.
const defaultTimeout = 5 * time.Minute

// Run runs a program on the host. Its failing is a result; not being able to
// run it ends the test.
func (h *Host) Run(t testing.TB, args ...string) Result {
	t.Helper()
	return h.RunCommand(t, Command{Args: args})
}

// RunInput is Run with something to read on standard input.
func (h *Host) RunInput(t testing.TB, stdin string, args ...string) Result {
	t.Helper()
	return h.RunCommand(t, Command{Args: args, Stdin: stdin})
}

// MustRun returns the output of a program and ends the test unless it exits 0.
func (h *Host) MustRun(t testing.TB, args ...string) string {
	t.Helper()
	r := h.Run(t, args...)
	if r.Exit != 0 || r.Held {
		t.Fatalf("%q: %s", args, r)
	}
	return r.Stdout
}

// RunCommand runs a command on the host and waits for its end.
func (h *Host) RunCommand(t testing.TB, c Command) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout(c))
	defer cancel()
	result, err := h.run(ctx, c)
	if err != nil {
		t.Fatalf("run %q on the host: %v", c.Args, err)
	}
	return result
}

// Eventually runs a command until it exits 0, and returns what it printed. It
// ends the test with the last result when that takes longer than the deadline.
func (h *Host) Eventually(t testing.TB, deadline time.Duration, args ...string) string {
	t.Helper()
	end := time.Now().Add(deadline)
	for {
		r := h.RunCommand(t, Command{Args: args, Timeout: deadline})
		if r.Exit == 0 {
			return r.Stdout
		}
		if time.Now().After(end) {
			t.Fatalf("%q does not succeed within %s: %s", args, deadline, r)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func timeout(c Command) time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
}

func (h *Host) run(ctx context.Context, c Command) (Result, error) {
	var stdout, stderr bytes.Buffer
	p, err := h.spawn(c, &stdout, &stderr)
	if err != nil {
		return Result{}, err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		_ = p.Signal(unix.SIGKILL) // already gone is as good
		<-p.ended
		return Result{}, fmt.Errorf("%w; until then it printed\n%s%s", ctx.Err(), stdout.String(), stderr.String())
	}
	r := p.result
	r.Stdout, r.Stderr = stdout.String(), stderr.String()
	return r, nil
}

// spawn starts a command on the host.
func (h *Host) spawn(c Command, stdout, stderr io.Writer) (*Process, error) {
	path, err := h.lookPath(c.Args[0])
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: path, Args: c.Args, Dir: "/", Stdout: stdout, Stderr: stderr, WaitDelay: 2 * time.Second,
		Env: append([]string{
			"PATH=" + searchPath, "HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", "TERM=dumb",
		}, c.Env...),
	}
	switch {
	case c.stdin != nil:
		cmd.Stdin = c.stdin
	case c.Stdin != "":
		cmd.Stdin = strings.NewReader(c.Stdin)
	}
	if c.terminal != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = c.terminal, c.terminal, c.terminal
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	wait, err := startFrom(cmd, h.session, h.enter)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	p := &Process{Pid: cmd.Process.Pid, process: cmd.Process, ended: make(chan struct{})}
	go func() {
		err := wait()
		p.result = ending(cmd.ProcessState, err)
		close(p.ended)
	}()
	return p, nil
}

// ending reads how a process ended.
func ending(state *os.ProcessState, err error) Result {
	r := Result{Exit: state.ExitCode(), Held: errors.Is(err, exec.ErrWaitDelay)}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		r.Exit = 128 + int(status.Signal())
	}
	return r
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPath finds a program on the host.
func (h *Host) lookPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range filepath.SplitList(searchPath) {
		if _, err := os.Lstat(h.Path(filepath.Join(dir, name))); err == nil {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("the host has no %s", name)
}

// enter moves the calling thread into the host's namespaces, so that what it
// starts is there: first those that need this machine's /proc, last the root.
func (h *Host) enter() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // a mount namespace cannot be entered else
		return fmt.Errorf("leave the process's root: %w", err)
	}
	pidfd, err := unix.PidfdOpen(h.leader, 0)
	if err != nil {
		return fmt.Errorf("open the host's PID 1 (%s): %w", strconv.Itoa(h.leader), err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	all := unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP
	if err := unix.Setns(pidfd, all); err != nil {
		return fmt.Errorf("enter the host's namespaces: %w", err)
	}
	return nil
}
