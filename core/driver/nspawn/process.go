// Package nspawn runs one systemd-nspawn that boots a machine, in the place of
// the service manager: in a cgroup, with the socket on which it says which
// process is the machine's first, and with its console read.
//
// It decides nothing about the machine: the arguments are handed in.
package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/driver/inherit"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// Killing is how long what was killed by force may take to be gone.
const Killing = 15 * time.Second

// Command is a systemd-nspawn to be run.
type Command struct {
	Machine   string
	Arguments []string
	Env       []string     // KEY=VALUE, added to a clean environment
	Notify    string       // where the socket is made on which it reports
	Identity  string       // where a machine id is kept for a host that has none
	Group     cgroup.Group // that it is started in; it exists
	Console   io.Writer    // gets what the machine prints
}

// Process is one running systemd-nspawn.
type Process struct {
	cmd    *exec.Cmd
	group  cgroup.Group
	notify *notifySocket
	exited chan struct{}
	copied chan struct{} // its console has been read to the end
}

// Start starts it in its cgroup.
func (c Command) Start() (*Process, error) {
	program, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		return nil, fmt.Errorf("systemd-nspawn is not installed: %w", err)
	}
	if err := inherit.Nothing(); err != nil {
		return nil, err
	}
	socket, err := listenNotify(c.Notify)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, c.Arguments...) //nolint:noctx // ended in order, see PowerOff
	cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8", "TERM=dumb", "NOTIFY_SOCKET=" + c.Notify,
	}, c.Env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not to be killed with us
	p := &Process{cmd: cmd, group: c.Group, notify: socket, exited: make(chan struct{}), copied: make(chan struct{})}
	if err := p.start(c); err != nil {
		return nil, errors.Join(fmt.Errorf("starting systemd-nspawn: %w", err), socket.close())
	}
	return p, nil
}

func (p *Process) start(c Command) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = write.Close() }() // systemd-nspawn has its own
	// systemd-nspawn takes a console that nobody reads for the wish to end
	// at once. So that the machine can power off in order when we are
	// killed, it holds a reading end itself, where it does not read.
	spare, err := reopen(read)
	if err != nil {
		return errors.Join(err, read.Close())
	}
	defer func() { _ = spare.Close() }()
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = spare, write, write

	watcher, err := startWatcher()
	if err != nil {
		return errors.Join(err, read.Close())
	}
	if err = c.fork(p.cmd); err == nil {
		err = watcher.watch(p.cmd.Process.Pid)
	}
	if err != nil {
		if p.cmd.Process != nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait() // it was killed
		}
		watcher.end()
		return errors.Join(err, read.Close())
	}
	go func() {
		_ = p.cmd.Wait() // its state tells more
		watcher.end()
		close(p.exited)
	}()
	go func() {
		defer close(p.copied)
		defer func() { _ = read.Close() }()
		copyConsole(c.Console, read)
	}()
	return nil
}

// fork starts the command on a thread that is not used again.
func (c Command) fork(cmd *exec.Cmd) error {
	lacking, err := lacksIdentity(identity)
	if err != nil {
		return err
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if lacking {
			if err := standIn(c.Identity, c.Machine); err != nil {
				result <- err
				return
			}
		}
		result <- c.Group.Start(cmd)
	}()
	return <-result
}

// reopen opens the file a second time, so that both can be set to block or not
// without minding the other.
func reopen(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var again *os.File
	var failure error
	err = raw.Control(func(fd uintptr) {
		again, failure = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY, 0)
	})
	return again, errors.Join(err, failure)
}

// copyConsole keeps what the machine prints. When the log cannot be written,
// the machine must still be able to print.
func copyConsole(log io.Writer, from io.Reader) {
	if _, err := io.Copy(log, from); err != nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

// WaitInit returns the machine's leader as soon as that runs the machine's
// init. The error is leader.ErrGone when there is none to run.
func (p *Process) WaitInit(ctx context.Context) (pid int, err error) {
	if pid, err = p.notify.waitLeader(ctx); err != nil {
		return 0, err
	}
	l, err := leader.Open(pid)
	if err != nil {
		return 0, err
	}
	return pid, errors.Join(l.WaitInit(ctx), l.Close())
}

// Exited is closed once systemd-nspawn has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// PowerOff asks the machine to power off. systemd-nspawn takes the second
// SIGTERM as the wish to end at once: it must get one only.
func (p *Process) PowerOff(ctx context.Context) {
	early, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if pid, err := p.notify.waitLeader(early); err == nil {
		if l, err := leader.Open(pid); err == nil {
			_ = l.WaitListening(early) // ask in any case
			_ = l.Close()              // holds nothing
		}
	}
	if ctx.Err() == nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
}

// Kill ends the machine by force.
func (p *Process) Kill(ctx context.Context) {
	_ = p.cmd.Process.Kill() // it may have ended
	ctx, cancel := context.WithTimeout(ctx, Killing)
	defer cancel()
	_ = p.group.Kill(ctx) // what is left is reported when the group is removed
}

// Finish returns the exit status of a systemd-nspawn that has exited, once its
// console has been read, and removes the socket.
func (p *Process) Finish() (code int, err error) {
	select {
	case <-p.copied:
	case <-time.After(2 * time.Second):
	}
	if err := p.notify.close(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return p.cmd.ProcessState.ExitCode(), nil
}
