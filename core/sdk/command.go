package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command runs one of a plugin's tools as the host expects it: with a clean
// environment, no terminal and nothing to read, in a process group of its own,
// which ends with it, and with all that it prints turned into events.
type Command struct {
	// Argv is the program and its arguments. The program is looked up in the
	// PATH of Environment(Env...), never in the caller's.
	Argv []string
	// Dir is the working directory; empty means the root directory.
	Dir string
	// Env is added to Environment.
	Env []string
	// OnLine receives each line of standard output and standard error, cleaned
	// and at most MaxText bytes long. Status may be called at the same time.
	OnLine func(line string)
	// Status, when set, receives the lines that the tool writes to file
	// descriptor 3, such as those of apt's APT::Status-Fd.
	Status func(line string)
	// Grace is how long the tool may take to end after SIGTERM when ctx is
	// done; then it is killed. Zero means 10 seconds.
	Grace time.Duration
}

// straggler is how long output is still read once the tool has ended: a daemon
// that it left behind may hold the pipe open for ever.
const straggler = time.Second

// Run runs the tool and waits for it and its output to end. Nothing of its
// process group is left when it returns. An error is always a *Failure with
// the last lines of the output; its cause is an *exec.ExitError when the tool
// failed by itself, and the context's error when ctx ended it, whatever exit
// status it had then.
func (c Command) Run(ctx context.Context) error {
	cmd, failure := c.prepare()
	if failure != nil {
		return failure
	}
	if ctx.Err() != nil {
		return c.canceled(ctx, nil)
	}

	var tail Tail
	var reading sync.WaitGroup
	output, err := readFrom(&reading, func(line string) {
		tail.Add(line)
		if c.OnLine != nil {
			c.OnLine(line)
		}
	})
	if err != nil {
		return c.broken(err)
	}
	cmd.Stdout, cmd.Stderr = output.write, output.write
	pipes := []pipe{output}
	if c.Status != nil {
		status, err := readFrom(&reading, c.Status)
		if err != nil {
			output.close(0)
			reading.Wait()
			return c.broken(err)
		}
		cmd.ExtraFiles = []*os.File{status.write}
		pipes = append(pipes, status)
	}

	err = c.supervise(ctx, cmd)
	for _, p := range pipes {
		p.close(straggler)
	}
	reading.Wait()
	for _, p := range pipes {
		_ = p.read.Close()
	}
	return c.outcome(ctx, err, tail.Lines())
}

// prepare makes the process's description.
func (c Command) prepare() (*exec.Cmd, *Failure) {
	if len(c.Argv) == 0 {
		return nil, &Failure{Code: CodeTool, Message: "a command without a program"}
	}
	env := Environment(c.Env...)
	path, err := findIn(pathOf(env), c.Argv[0])
	if err != nil {
		return nil, &Failure{
			Code:    CodeHostNotReady,
			Message: c.name() + " is not installed on this host",
			Hint:    "install the package that brings " + c.name(),
			Err:     err,
		}
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	return &exec.Cmd{
		Path: path,
		Args: c.Argv,
		Dir:  dir,
		Env:  env,
		SysProcAttr: &syscall.SysProcAttr{
			Setpgid:   true,
			Pdeathsig: syscall.SIGKILL,
		},
	}, nil
}

// supervise runs cmd to its end, on one thread because the kernel sends the
// parent-death signal when the thread that forked ends.
func (c Command) supervise(ctx context.Context, cmd *exec.Cmd) error {
	done := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		// The group is killed while its leader is still a zombie, so that its
		// number cannot have become somebody else's.
		awaitExit(cmd.Process.Pid)
		signalGroup(cmd.Process.Pid, unix.SIGKILL)
		done <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return err
	}

	grace := c.Grace
	if grace == 0 {
		grace = 10 * time.Second
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	signalGroup(cmd.Process.Pid, unix.SIGTERM)
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
	}
	signalGroup(cmd.Process.Pid, unix.SIGKILL)
	return <-done
}

// outcome turns how the tool ended into what Run returns.
func (c Command) outcome(ctx context.Context, err error, tail []string) error {
	if ctx.Err() != nil {
		// Some tools exit with 0 after a signal, with half of the work done.
		return c.canceled(ctx, tail)
	}
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return c.broken(err)
	}
	how := fmt.Sprintf("exit status %d", exit.ExitCode())
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		how = "signal " + unix.SignalName(status.Signal())
	}
	return &Failure{Code: CodeTool, Message: c.name() + " failed with " + how, Tail: tail, Err: err}
}

func (c Command) canceled(ctx context.Context, tail []string) error {
	return &Failure{Code: CodeCanceled, Message: c.name() + " was cancelled", Tail: tail, Err: ctx.Err()}
}

func (c Command) broken(err error) error {
	return &Failure{Code: CodeTool, Message: "cannot run " + c.name(), Err: err}
}

func (c Command) name() string { return Clean(filepath.Base(c.Argv[0]), 255) }

// awaitExit waits until the child pid has ended and leaves it to be reaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// signalGroup signals the process group of leader. That the group is gone
// already is what was wanted.
func signalGroup(leader int, signal syscall.Signal) { _ = unix.Kill(-leader, signal) }

// pipe is what a tool writes to and a goroutine reads lines from.
type pipe struct{ read, write *os.File }

// readFrom makes a pipe and passes what is written to it to emit.
func readFrom(reading *sync.WaitGroup, emit func(string)) (pipe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return pipe{}, err
	}
	reading.Go(func() {
		// The only errors are the deadline and the closing that close sets.
		_ = ReadLines(r, emit)
	})
	return pipe{read: r, write: w}, nil
}

// close ends the writing side, and the reading side after the grace.
func (p pipe) close(grace time.Duration) {
	_ = p.write.Close()
	_ = p.read.SetReadDeadline(time.Now().Add(grace))
}
