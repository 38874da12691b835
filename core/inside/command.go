// Package inside runs a command in a running machine, as its root.
//
// The machine is hostile: whatever runs in it may look at the command as soon
// as it arrived there. So the command gets pipes or a terminal of the machine's
// own and never a file descriptor of this host, an environment that was written here and nothing of ours, no
// capability that the machine's own first process could not have, and the
// machine's cgroup. This package never runs a shell and never reads a file of
// the machine's tree.
package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// Exit statuses that say something about the command itself, as shells and
// ssh use them.
const (
	ExitNotExecutable = 126
	ExitNotFound      = 127
	exitSignal        = 128 // plus the number of the signal that ended it
)

// ErrStopped is returned when the machine went down under the command.
var ErrStopped = errors.New("the machine stopped while the command ran")

// Command is what to run.
type Command struct {
	Leader int       // the machine's PID 1 as this host numbers it
	Argv   []string  // found in the machine's PATH
	Env    []string  // KEY=VALUE, added to a clean environment; these win
	Stdin  io.Reader // nil is empty
	Stdout io.Writer // nil discards
	Stderr io.Writer // nil discards
	// Terminal, when it is not nil, takes the place of the three.
	Terminal *Terminal
	// Signals, when it is not nil, are passed on to the command and what it
	// started: its process group. What has not ended 10 seconds later, or when
	// the same signal comes again, is killed with all that is in its session.
	Signals <-chan os.Signal
	// Program is what is run in place of the file that Argv[0] names: a file
	// of the host that the machine may see, and cannot write to.
	Program *os.File
}

// Run runs the command and returns its exit status: 128+n when signal n ended
// it. The error is about getting the command to run and is nil for a command
// that ran and failed. When ctx is done the command is killed.
//
// Run returns when the command has ended and nothing more comes from it; what
// it left running in the machine does not hold Run up.
//
// A Stdin that blocks stays being read after Run has returned, until its next
// Read returns.
func (c Command) Run(ctx context.Context) (exitCode int, err error) {
	if err := ctx.Err(); err != nil {
		return -1, fmt.Errorf("running %q in the machine: %w", c.name(), err)
	}
	code, err := c.run(ctx)
	if err != nil {
		return -1, fmt.Errorf("running %q in the machine: %w", c.name(), err)
	}
	return code, nil
}

// Output runs the command and returns the first limit bytes of what it wrote
// to its standard output, which replaces Stdout. The rest is read and dropped.
func (c Command) Output(ctx context.Context, limit int) (out []byte, exitCode int, err error) {
	var buf bytes.Buffer
	c.Stdout = &head{to: &buf, left: limit}
	exitCode, err = c.Run(ctx)
	return buf.Bytes(), exitCode, err
}

func (c Command) name() string {
	if len(c.Argv) == 0 {
		return ""
	}
	return c.Argv[0]
}

func (c Command) run(ctx context.Context) (code int, err error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return -1, errors.New("no command given")
	}
	env, err := environment(c.Env)
	if err != nil {
		return -1, err
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return -1, fmt.Errorf("nsenter, of util-linux, is not there: %w", err)
	}
	machine, err := leader.Open(c.Leader)
	if err != nil {
		return -1, err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()

	spaces, err := openNamespaces(machine)
	if err != nil {
		return -1, err
	}
	defer spaces.close()

	// The file arguments of nsenter lead through our own /proc entry, so
	// that the command inherits none of them.
	argv := c.inSession(c.Argv)
	if c.Program != nil {
		argv = append([]string{"/proc/self/fd/3"}, argv[1:]...)
	}
	cmd := exec.Command(nsenter, slices.Concat(spaces.arguments(), []string{"--"}, argv)...) //nolint:contextcheck,noctx // the whole group is killed, not nsenter alone
	cmd.Env = env
	cmd.Dir = "/"
	if c.Program != nil {
		cmd.ExtraFiles = []*os.File{c.Program}
	}
	streams, err := c.connection(cmd, machine)
	if err != nil {
		return -1, err
	}
	if err := start(cmd, machine, spaces); err != nil {
		return -1, errors.Join(err, streams.abandon())
	}
	return c.wait(ctx, cmd, streams, machine)
}

// connection is what a command's input and output go through.
type connection interface {
	flow()          // starts copying, after the command has been started
	drain()         // waits for the rest, after it has ended
	abandon() error // closes what a command that was not started had
}

func (c Command) connection(cmd *exec.Cmd, machine *leader.Process) (connection, error) {
	// A session of its own: else the command could read and type at the
	// terminal of whoever runs this, by the name of /dev/tty.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if c.Terminal == nil {
		return connect(cmd, c, machine)
	}
	return openTerminal(cmd, c, machine)
}

// wait returns the exit status of the started command.
func (c Command) wait(ctx context.Context, cmd *exec.Cmd, s connection, machine *leader.Process) (int, error) {
	s.flow()
	f := &family{nsenter: cmd.Process.Pid}
	exited := make(chan struct{})
	var relayed sync.WaitGroup
	relayed.Go(func() { f.relay(c.Signals, exited, grace) })
	// The command inside is the child of nsenter and of its process group, or
	// leads a session; killing nsenter alone would leave it running.
	stop := context.AfterFunc(ctx, func() {
		if c.Terminal != nil || c.Signals != nil {
			(&family{nsenter: cmd.Process.Pid}).end()
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	})
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		goOn(cmd.Process.Pid, done)
	}()
	err := cmd.Wait()
	close(done)
	<-watched
	killed := !stop()
	close(exited)
	relayed.Wait()
	if f.signaled {
		f.sweep()
	}
	s.drain()
	if killed {
		return -1, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, err
	}
	code := status(cmd.ProcessState.Sys())
	if code == exitSignal+int(syscall.SIGKILL) && machine.Ending() {
		return -1, ErrStopped
	}
	return code, nil
}

func status(sys any) int {
	ws, ok := sys.(syscall.WaitStatus)
	if !ok {
		return -1
	}
	if ws.Signaled() {
		return exitSignal + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// environment is what the command sees. nsenter itself runs with it, so that
// nothing of ours can be read from its /proc entry inside; for that reason it
// must not hold what the host's dynamic loader acts on.
func environment(extra []string) ([]string, error) {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", "TERM=dumb",
	}
	for _, entry := range extra {
		key, _, ok := strings.Cut(entry, "=")
		if !ok || key == "" || strings.ContainsRune(entry, 0) {
			return nil, fmt.Errorf("%q is not KEY=VALUE", entry)
		}
		if strings.HasPrefix(key, "LD_") || key == "GLIBC_TUNABLES" || key == "GCONV_PATH" || key == "LOCPATH" {
			return nil, fmt.Errorf("the variable %s would act on this host's nsenter: pass it with env(1)", key)
		}
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, key+"=") })
		env = append(env, entry)
	}
	return env, nil
}

// head passes on the first bytes and swallows the rest.
type head struct {
	to   io.Writer
	left int
}

func (h *head) Write(p []byte) (int, error) {
	keep := p[:min(len(p), max(h.left, 0))]
	h.left -= len(keep)
	if _, err := h.to.Write(keep); err != nil {
		return 0, err
	}
	return len(p), nil
}
