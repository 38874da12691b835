package testrepo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// buildTime is when everything was built and signed, as far as packages and
// signatures tell: a fixed moment, 2025-01-01 00:00 UTC, in seconds.
const buildTime = "1735689600"

// tool is a program to run in a directory, with more in its environment.
type tool struct {
	dir string
	env []string
}

// run runs a program and returns what it printed on standard output. The
// program, and all that it started, dies with this process: it has a PID
// namespace of its own.
func (o tool) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = o.dir, &stdout, &stderr, 10*time.Second
	cmd.Env = append(os.Environ(), append([]string{"LC_ALL=C", "SOURCE_DATE_EPOCH=" + buildTime}, o.env...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := onOwnThread(cmd.Run); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", name, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// onOwnThread runs f on an OS thread that lives until f returns: a signal at
// the death of the parent comes at the death of the thread that forked.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- f()
	}()
	return <-done
}
