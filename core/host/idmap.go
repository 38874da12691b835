package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// MapsOwners says what keeps the file system of path from being mounted with
// mapped owners; nil when nothing does. It tries, on a mount that nobody sees
// and that is gone afterwards.
func MapsOwners(path string) error {
	users, err := UserNamespace(0, 1)
	if err != nil {
		return fmt.Errorf("this kernel makes no user namespace: %w", err)
	}
	defer users.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOSYS) {
		return errors.New("this kernel maps no owners; Linux 5.12 and later do")
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	defer func() { _ = unix.Close(tree) }()
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())})
	switch {
	case errors.Is(err, unix.ENOSYS):
		return errors.New("this kernel maps no owners; Linux 5.12 and later do")
	case errors.Is(err, unix.EPERM):
		// What the kernel says of a mount that is mapped already; systemd-nspawn
		// takes the mapping off first, from 256 on, but whose the files are then
		// is not what one sees.
		if mapped, merr := isMapped(path); merr == nil && mapped {
			return errors.New("it is mounted with mapped owners already")
		}
		return fmt.Errorf("its file system (%s) does not: %w", fileSystem(path), err)
	case err != nil:
		return fmt.Errorf("its file system (%s) does not: %w", fileSystem(path), err)
	}
	return nil
}

// UserNamespace makes a user namespace in which as many users and groups as size
// says have the host's numbers from base on. It is that of a process that is
// stopped before its first instruction, and ended as soon as the namespace is open.
func UserNamespace(base, size int) (ns *os.File, err error) {
	// What traces a process is the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: size}}
	child, err := os.StartProcess("/proc/self/exe", []string{"nspawn-build"}, &os.ProcAttr{
		Dir: "/", Env: []string{},
		Sys: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
			Ptrace: true, Pdeathsig: syscall.SIGKILL,
		},
	})
	if err != nil {
		return nil, err
	}
	ns, err = os.Open(fmt.Sprintf("/proc/%d/ns/user", child.Pid))
	killed := child.Kill()
	// A traced process is waited for twice: for its stop, then for its end.
	for {
		var status unix.WaitStatus
		_, werr := unix.Wait4(child.Pid, &status, unix.WALL, nil)
		if errors.Is(werr, unix.EINTR) || werr == nil && !status.Exited() && !status.Signaled() {
			continue
		}
		break
	}
	return ns, errors.Join(err, killed, child.Release())
}

// isMapped tells whether path is on a mount with mapped owners.
func isMapped(path string) (bool, error) {
	m, err := mountOf(path)
	if err != nil {
		return false, err
	}
	return slices.Contains(strings.Split(m.Options, ","), "idmapped"), nil
}

// fileSystem is the kind of the file system of path, for messages.
func fileSystem(path string) string {
	m, err := mountOf(path)
	if err != nil {
		return "unknown"
	}
	return m.FSType
}

// mountOf is the mount that path is on.
func mountOf(path string) (*mountinfo.Info, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(path))
	if err != nil {
		return nil, fmt.Errorf("reading the table of mounts: %w", err)
	}
	var best *mountinfo.Info
	for _, m := range mounts { // the last of those at one place is on top
		if best == nil || len(m.Mountpoint) >= len(best.Mountpoint) {
			best = m
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%s is on no mount", path)
	}
	return best, nil
}

// MountsBelow are the mount points below path, sorted.
func MountsBelow(path string) ([]string, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path))
	if err != nil {
		return nil, fmt.Errorf("reading the table of mounts: %w", err)
	}
	var below []string
	for _, m := range mounts {
		if filepath.Clean(m.Mountpoint) != filepath.Clean(path) {
			below = append(below, m.Mountpoint)
		}
	}
	slices.Sort(below)
	return slices.Compact(below), nil
}

// IgnoresSetuid tells whether what is setuid on the mount of path is run as
// anything else is.
func IgnoresSetuid(path string) (bool, error) {
	var on unix.Statfs_t
	if err := unix.Statfs(path, &on); err != nil {
		return false, fmt.Errorf("statfs %s: %w", path, err)
	}
	return on.Flags&unix.ST_NOSUID != 0, nil
}
