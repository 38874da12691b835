package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// WriteFrom is WriteFile for a content of any length. It is not on disk when it
// returns: that takes a Sync.
func (t *Tree) WriteFrom(name string, from io.Reader, mode fs.FileMode) error {
	if mode&^fs.ModePerm != 0 {
		return t.fail("write", name, fmt.Errorf("mode %v is more than permissions: %w", mode, fs.ErrInvalid))
	}
	uid, gid, err := t.owner()
	if err == nil {
		err = t.replace(name, func(dir *os.File, temp string) (err error) {
			fd, err := unix.Openat(int(dir.Fd()), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
			if err != nil {
				return err
			}
			f := os.NewFile(uintptr(fd), temp)
			defer func() { err = errors.Join(err, f.Close()) }()
			if err := errors.Join(f.Chown(uid, gid), f.Chmod(mode)); err != nil {
				return err
			}
			_, err = io.Copy(f, from)
			return err
		})
	}
	if err != nil {
		return t.fail("write", name, err)
	}
	return nil
}

// Sync returns when everything that was written to the tree is on disk.
func (t *Tree) Sync() error {
	root, err := openAt(t.root, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(root.Fd())), root.Close())
}
