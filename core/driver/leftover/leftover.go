// Package leftover removes what a systemd-nspawn that was killed leaves in
// /run, and what keeps the next one of the same name from starting.
//
// It must only be called when no machine of that name runs.
package leftover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// exports is where systemd-nspawn, from 256 on, mounts a file system that it
// shares with the machine; it refuses to start where one is mounted already.
const exports = "/run/systemd/nspawn/unix-export"

// propagate is where it makes an empty directory for each machine, through
// which mounts could be passed in.
const propagate = "/run/systemd/nspawn/propagate"

// Remove removes both. Nothing being there is no error.
func Remove(name string) error {
	return errors.Join(remove(filepath.Join(exports, name)), remove(filepath.Join(propagate, name)))
}

func remove(path string) error {
	// More than one may be stacked, by killed ones of versions that do not refuse.
	for range 16 {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break // not mounted
		}
		if err != nil {
			return fmt.Errorf("unmounting %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing what systemd-nspawn left: %w", err)
	}
	return nil
}
