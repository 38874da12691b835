package main

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

// mounts are those that the plugin makes in a tree while apt runs in it. The
// host runs the plugin in a mount namespace of its own, so that none survives
// it; in any case all are undone before the job ends.
type mounts struct {
	target string
	made   []string
}

// proc mounts /proc, which maintainers' scripts expect.
func (m *mounts) proc(t tree) error {
	return m.mount(t, "proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC)
}

// readOnly shows the directory from, of the host, at the path to in the tree.
func (m *mounts) readOnly(t tree, from, to string) error {
	name := to[1:]
	if err := t.MkdirAll(name, 0o755); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if slices.Contains(m.made, filepath.Join(m.target, name)) {
		return nil // both archives are in the same directory
	}
	if err := m.mount(t, from, name, "", unix.MS_BIND); err != nil {
		return err
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
	if err := unix.Mount("", filepath.Join(m.target, name), "", flags, ""); err != nil {
		return fmt.Errorf("making the mount of %s read-only: %w", from, err)
	}
	return nil
}

// mount mounts on a directory of the tree, through a descriptor of it that no
// link leads away from.
func (m *mounts) mount(t tree, source, name, kind string, flags uintptr) error {
	directory, err := t.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer directory.Close() //nolint:errcheck // only a place
	place := fmt.Sprintf("/proc/self/fd/%d", directory.Fd())
	if err := unix.Mount(source, place, kind, flags, ""); err != nil {
		return fmt.Errorf("mounting %s on %s in the tree: %w", source, name, err)
	}
	m.made = append(m.made, filepath.Join(m.target, name))
	return nil
}

// undo unmounts all, the last first.
func (m *mounts) undo() error {
	var all error
	for _, path := range slices.Backward(m.made) {
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			all = errors.Join(all, &os.PathError{Op: "umount", Path: path, Err: err})
		}
	}
	m.made = nil
	return all
}

// noMounts makes sure that nothing is mounted below a directory: what is
// removed there is then the directory's own.
func noMounts(directory string) error {
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
