package inside

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/driver/inherit"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"golang.org/x/sys/unix"
)

// kinds are the namespaces that a machine may have for itself, with the option
// of nsenter that takes each.
var kinds = []struct{ file, option string }{
	{"ns/user", "--user"},
	{"ns/mnt", "--mount"},
	{"ns/uts", "--uts"},
	{"ns/ipc", "--ipc"},
	{"ns/net", "--net"},
	{"ns/pid", "--pid"},
	{"ns/cgroup", "--cgroup"},
	{"ns/time", "--time"},
}

// namespaces are the machine's, those that it shares with us left out.
type namespaces struct {
	files   []*os.File
	options []string
	ownUser bool
}

func openNamespaces(machine *leader.Process) (*namespaces, error) {
	ns := &namespaces{}
	for _, k := range kinds {
		f, err := machine.OpenFile(k.file)
		if errors.Is(err, os.ErrNotExist) && !errors.Is(err, leader.ErrGone) {
			continue // a kernel without this kind
		}
		if err != nil {
			ns.close()
			return nil, err
		}
		shared, err := isOurs(f, k.file)
		if err != nil || shared {
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			ns.close()
			return nil, err
		}
		if shared {
			continue
		}
		ns.files = append(ns.files, f)
		ns.options = append(ns.options, k.option)
		ns.ownUser = ns.ownUser || k.file == "ns/user"
	}
	return ns, nil
}

func isOurs(f *os.File, name string) (bool, error) {
	theirs, err := f.Stat()
	if err != nil {
		return false, err
	}
	ours, err := os.Stat(filepath.Join("/proc/thread-self", name))
	if err != nil {
		return false, err
	}
	return os.SameFile(theirs, ours), nil
}

// arguments tells nsenter where to go. It must run as a child of this process.
func (n *namespaces) arguments() []string {
	args := []string{"--setuid=0", "--setgid=0"}
	for i, f := range n.files {
		args = append(args, fmt.Sprintf("%s=/proc/%d/fd/%d", n.options[i], os.Getpid(), f.Fd()))
	}
	return args
}

func (n *namespaces) close() {
	for _, f := range n.files {
		_ = f.Close() // opened for reading
	}
}

// start starts nsenter in the machine's cgroup, with no more capabilities
// than the machine may have, and confined as its first process is.
func start(cmd *exec.Cmd, machine *leader.Process, ns *namespaces) error {
	if err := inherit.Nothing(); err != nil {
		return err
	}
	result := make(chan error)
	go func() {
		// What a thread drops it never gets back: the thread ends with
		// this goroutine, because it is not unlocked.
		runtime.LockOSThread()
		if !ns.ownUser {
			// In a user namespace of its own the machine bounds itself.
			if err := dropCapabilities(machine); err != nil {
				result <- err
				return
			}
		}
		if err := confine(machine); err != nil {
			result <- err
			return
		}
		result <- startInCgroup(cmd, machine)
	}()
	return <-result
}

func startInCgroup(cmd *exec.Cmd, machine *leader.Process) error {
	host, err := cgroup.Find()
	if err != nil {
		return err
	}
	if host.Unified == "" {
		return cmd.Start()
	}
	// A leader that is just starting moves itself to a cgroup below its
	// first, which the kernel then refuses to put processes in.
	for range 20 {
		err = startIn(cmd, machine, host.Unified)
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

func startIn(cmd *exec.Cmd, machine *leader.Process, root string) error {
	path, err := machine.Cgroup()
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Join(root, path))
	if err != nil {
		return fmt.Errorf("opening the machine's cgroup: %w", err)
	}
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(dir.Fd())
	// A command that was not started may be started again as a copy only.
	attempt := *cmd
	if err := attempt.Start(); err != nil {
		return errors.Join(err, dir.Close())
	}
	*cmd = attempt //nolint:govet // the process is in one of them only
	return dir.Close()
}

// needed are the capabilities that nsenter works with.
const needed = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SYS_PTRACE |
	1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID

// dropCapabilities bounds the calling thread to what the machine may have.
func dropCapabilities(machine *leader.Process) error {
	bound, err := machine.CapabilityBound()
	if err != nil {
		return err
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if (bound|needed)&(1<<c) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) { // a kernel without it
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	return nil
}
