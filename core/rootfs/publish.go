package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile/step"
)

// Publish gives the finished tree at staging its name: it brings everything
// to disk, then renames in one step and brings that to disk too. Both paths
// are absolute and on the same file system. When there is anything at dest
// already, nothing happens and the error is fs.ErrExist.
func Publish(staging, dest string) error {
	if err := publish(staging, dest); err != nil {
		return fmt.Errorf("publish tree %q as %q: %w", staging, dest, err)
	}
	return nil
}

func publish(staging, dest string) error {
	from, fromBase, err := openParent(staging)
	if err != nil {
		return err
	}
	defer from.Close()
	to, toBase, err := openParent(dest)
	if err != nil {
		return err
	}
	defer to.Close()
	tree, err := openAt(from, fromBase, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer tree.Close()
	for _, one := range []struct {
		step, path string
		take       func() error
	}{
		{step.Tree, staging, func() error { return unix.Syncfs(int(tree.Fd())) }},
		{step.Rename, dest, func() error { return renameNew(from, fromBase, to, toBase) }},
		{step.Names, to.Name(), to.Sync},
		{step.Names, from.Name(), from.Sync},
	} {
		err := step.Take(one.step, one.path)
		if err == nil {
			err = one.take()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", one.step, err)
		}
	}
	return nil
}

// openParent opens the directory that holds path. Links above are the host's
// own and are followed.
func openParent(path string) (*os.File, string, error) {
	path = filepath.Clean(path)
	if !filepath.IsAbs(path) || path == "/" {
		return nil, "", fmt.Errorf("%q is no absolute path of a tree: %w", path, fs.ErrInvalid)
	}
	fd, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", fmt.Errorf("open %q: %w", filepath.Dir(path), err)
	}
	return os.NewFile(uintptr(fd), filepath.Dir(path)), filepath.Base(path), nil
}

// renameNew renames a directory to a name that must not be taken.
func renameNew(from *os.File, old string, to *os.File, name string) error {
	err := unix.Renameat2(int(from.Fd()), old, int(to.Fd()), name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return renameOntoEmpty(from, old, to, name)
	}
	return err
}

// renameOntoEmpty is for file systems that know no RENAME_NOREPLACE, such as
// ZFS before 2.2. Taking the name with mkdir fails when it is taken already,
// and renaming a directory onto an empty one fails when it is not empty any
// more: nothing is ever lost, but for a moment an empty directory is seen.
func renameOntoEmpty(from *os.File, old string, to *os.File, name string) error {
	if err := unix.Mkdirat(int(to.Fd()), name, 0o700); err != nil {
		return err
	}
	err := unix.Renameat(int(from.Fd()), old, int(to.Fd()), name)
	if err == nil {
		return nil
	}
	return errors.Join(err, unix.Unlinkat(int(to.Fd()), name, unix.AT_REMOVEDIR))
}
