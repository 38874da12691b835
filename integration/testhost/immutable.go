package testhost

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// changeable lets the directories below dir be removed: machinectl makes what it
// pulled immutable, and a host that was killed could not remove it.
func changeable(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0) //nolint:gosec // of a host that is dead: nobody is there to race
		if err != nil {
			return err
		}
		fd := int(f.Fd())
		flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
		const held = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND // the same bits
		if err == nil && flags&held != 0 {
			err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags&^held)
		}
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
			err = nil // a file system without such flags
		}
		return errors.Join(err, f.Close())
	})
}
