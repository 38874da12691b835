package direct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/nspawn-build/nspawn-build/core/addr"
	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/driver/inherit"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// settingsDirs hold the settings that systemd-nspawn trusts.
var settingsDirs = []string{"/etc/systemd/nspawn", "/run/systemd/nspawn"}

// arguments are those of the template unit systemd-nspawn@.service, with what
// a missing service manager and machined change.
func arguments(m driver.Machine, trusted bool) []string {
	// Without a trusted file systemd-nspawn would read the one beside the
	// tree, which whoever made the tree may have put there.
	settings := "no"
	if trusted {
		settings = "override"
	}
	network := "--network-veth"
	if m.Interface == "" {
		network = "--private-network"
	}
	return []string{
		"--quiet", "--register=no", "--keep-unit", "--boot",
		"--settings=" + settings,
		"--link-journal=no", // nothing on this host would read it
		"--console=read-only",
		"-U", network,
		"--machine=" + m.Name,
		"--directory=" + m.Tree,
	}
}

func trustedSettings(dirs []string, name string) bool {
	for _, dir := range dirs {
		if _, err := os.Stat(dir + "/" + name + ".nspawn"); err == nil {
			return true
		}
	}
	return false
}

// nspawn is one running systemd-nspawn.
type nspawn struct {
	cmd    *exec.Cmd
	notify *notifySocket
	exited chan struct{}
	copied chan struct{} // its console has been read to the end
}

// launch starts systemd-nspawn in the machine's cgroup.
func (s *supervisor) launch() (*nspawn, error) {
	if err := s.group.Create(); err != nil {
		return nil, err
	}
	for _, refused := range s.limit() {
		s.report.say(news{Warning: "limit not enforced: " + refused})
	}
	program, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		return nil, fmt.Errorf("systemd-nspawn is not installed: %w", err)
	}
	if err := inherit.Nothing(); err != nil {
		return nil, err
	}
	socket, err := listenNotify(s.notify())
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, arguments(s.machine, trustedSettings(settingsDirs, s.machine.Name))...) //nolint:noctx // ended in order, see powerOff
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8", "TERM=dumb", "NOTIFY_SOCKET=" + s.notify(),
	}
	if scheme := addr.Pin(s.machine.Name, s.machine.Interface); scheme != "" {
		cmd.Env = append(cmd.Env, "NET_NAMING_SCHEME="+scheme) // rules go by the link's name
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not to be killed with us
	n := &nspawn{cmd: cmd, notify: socket, exited: make(chan struct{}), copied: make(chan struct{})}
	if err := s.start(n); err != nil {
		return nil, errors.Join(fmt.Errorf("starting systemd-nspawn: %w", err), socket.close())
	}
	return n, nil
}

func (s *supervisor) start(n *nspawn) error {
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
	n.cmd.Stdin, n.cmd.Stdout, n.cmd.Stderr = spare, write, write

	watcher, err := startWatcher()
	if err != nil {
		return errors.Join(err, read.Close())
	}
	if err = s.fork(n.cmd); err == nil {
		err = watcher.watch(n.cmd.Process.Pid)
	}
	if err != nil {
		if n.cmd.Process != nil {
			_ = n.cmd.Process.Kill()
			_ = n.cmd.Wait() // it was killed
		}
		watcher.end()
		return errors.Join(err, read.Close())
	}
	go func() {
		_ = n.cmd.Wait() // its state tells more
		watcher.end()
		close(n.exited)
	}()
	go func() {
		defer close(n.copied)
		defer func() { _ = read.Close() }()
		copyConsole(s.log, read)
	}()
	return nil
}

// fork starts the command on a thread that is not used again.
func (s *supervisor) fork(cmd *exec.Cmd) error {
	lacking, err := lacksIdentity(identity)
	if err != nil {
		return err
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if lacking {
			if err := standIn(s.identity(), s.machine.Name); err != nil {
				result <- err
				return
			}
		}
		result <- s.group.Start(cmd)
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

// powerOff asks the machine to power off. systemd-nspawn takes the second
// SIGTERM as the wish to end at once: it must get one only.
func (n *nspawn) powerOff(ctx context.Context) {
	early, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if pid, err := n.notify.waitLeader(early); err == nil {
		if p, err := leader.Open(pid); err == nil {
			_ = p.WaitListening(early) // ask in any case
			_ = p.Close()              // holds nothing
		}
	}
	if ctx.Err() == nil {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
}

// kill ends the machine by force.
func (n *nspawn) kill(ctx context.Context, g cgroup.Group) {
	_ = n.cmd.Process.Kill() // it may have ended
	ctx, cancel := context.WithTimeout(ctx, killing)
	defer cancel()
	_ = g.Kill(ctx) // what is left is reported when the group is removed
}

// outcome is what the exit of systemd-nspawn means.
func (n *nspawn) outcome(wasUp, asked bool, failure error) (code int, err error) {
	select {
	case <-n.copied:
	case <-time.After(2 * time.Second):
	}
	if err := n.notify.close(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	code = n.cmd.ProcessState.ExitCode()
	switch {
	case wasUp, asked, code == exitReboot:
		return code, nil
	case failure != nil && !errors.Is(failure, context.Canceled) && !errors.Is(failure, leader.ErrGone):
		return code, failure
	}
	return code, fmt.Errorf("%w (exit status %d)", driver.ErrEnded, code)
}
