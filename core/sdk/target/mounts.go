package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Mounts are those that a plugin makes in a tree while its tools run in it. The
// host runs a plugin in a mount namespace of its own, so that none survives it;
// in any case all are to be undone before the job ends.
type Mounts struct {
	tree Tree
	made []string
}

// NewMounts makes mounts in a tree.
func NewMounts(t Tree) *Mounts { return &Mounts{tree: t} }

// Proc mounts /proc, which packages' scripts expect.
func (m *Mounts) Proc() error {
	return m.mount("proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// devices are those that packages' scripts may expect; none of them reaches
// anything of the host's.
var devices = []string{"full", "null", "random", "tty", "urandom", "zero"}

// API mounts what every program may expect of a running system: /proc, /sys
// (read-only), and empty /dev, /run and /tmp, /dev with its harmless devices.
// Without them scripts leave such things as a regular file /dev/null behind.
func (m *Mounts) API() error {
	for _, name := range []string{"dev", "proc", "run", "sys", "tmp"} {
		if err := m.tree.Mkdir(name); err != nil {
			return err
		}
	}
	const safe = unix.MS_NOSUID | unix.MS_NODEV
	if err := errors.Join(
		m.Proc(),
		m.mount("sysfs", "sys", "sysfs", safe|unix.MS_NOEXEC|unix.MS_RDONLY, ""),
		m.mount("tmpfs", "dev", "tmpfs", unix.MS_NOSUID, "mode=755"),
		m.mount("tmpfs", "run", "tmpfs", safe, "mode=755"),
		m.mount("tmpfs", "tmp", "tmpfs", safe, "mode=1777"),
	); err != nil {
		return err
	}
	for _, name := range devices {
		if err := m.device(name); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := m.tree.Symlink(to, "dev/"+link); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	return nil
}

// device shows a device of the host's in the tree.
func (m *Mounts) device(name string) error {
	if err := m.tree.Write("dev/"+name, nil); err != nil {
		return err
	}
	return m.mount("/dev/"+name, "dev/"+name, "", unix.MS_BIND, "")
}

// ReadOnly shows a directory of the host's at a directory of the tree, which is
// made. Showing it there again changes nothing.
func (m *Mounts) ReadOnly(from, name string) error {
	if err := m.tree.Mkdir(name); err != nil {
		return err
	}
	if slices.Contains(m.made, m.path(name)) {
		return nil
	}
	if err := m.mount(from, name, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
	if err := unix.Mount("", m.path(name), "", flags, ""); err != nil {
		return fmt.Errorf("making the mount of %s read-only: %w", from, err)
	}
	return nil
}

// mount mounts on something in the tree, through a descriptor of it that no link
// leads away from.
func (m *Mounts) mount(source, name, kind string, flags uintptr, data string) error {
	on, err := m.tree.OpenFile(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer on.Close() //nolint:errcheck // only a place
	if err := unix.Mount(source, fmt.Sprintf("/proc/self/fd/%d", on.Fd()), kind, flags, data); err != nil {
		return fmt.Errorf("mounting %s on %s in the tree: %w", source, name, err)
	}
	m.made = append(m.made, m.path(name))
	return nil
}

func (m *Mounts) path(name string) string { return filepath.Join(m.tree.Name(), name) }

// Undo unmounts all, the last first.
func (m *Mounts) Undo() error {
	var all error
	for _, path := range slices.Backward(m.made) {
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			all = errors.Join(all, &os.PathError{Op: "umount", Path: path, Err: err})
		}
	}
	m.made = nil
	return all
}

// NoMounts makes sure that nothing is mounted below a directory: what is removed
// in it then is the directory's own.
func NoMounts(directory string) error {
	below, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		skip, _ = mountinfo.PrefixFilter(directory)(info)
		return skip || info.Mountpoint == directory, false
	})
	if err != nil {
		return fmt.Errorf("reading the mount table: %w", err)
	}
	if len(below) > 0 {
		return &sdk.Failure{
			Code:    sdk.CodeTool,
			Message: "the tool has left something mounted on " + below[0].Mountpoint,
			Hint:    "umount " + below[0].Mountpoint,
		}
	}
	return nil
}
