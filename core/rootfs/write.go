package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// WriteFile makes name a regular file with that content and those permission
// bits, owned by the owner of the tree's root directory, so that a tree whose
// ids are shifted stays right. Missing parents are made, with mode 0755. What
// stood there before, unless it is a directory, is replaced in one step and
// never written to: not through a link, and not through a hard link. When the
// program or the machine stops amid it, the old file or the new one is there.
func (t *Tree) WriteFile(name string, data []byte, mode fs.FileMode) error {
	if mode&^fs.ModePerm != 0 {
		return t.fail("write", name, fmt.Errorf("mode %v is more than permissions: %w", mode, fs.ErrInvalid))
	}
	uid, gid, err := t.owner()
	if err == nil {
		err = t.replace(name, func(dir *os.File, temp string) error {
			return fill(dir, temp, data, access{uid, gid, mode})
		})
	}
	if err != nil {
		return t.fail("write", name, err)
	}
	return nil
}

// access is who owns a file and what may be done with it.
type access struct {
	uid, gid int
	mode     fs.FileMode // permissions
}

// owner returns who owns the tree's root directory: the one that is root in
// there.
func (t *Tree) owner() (uid, gid int, err error) {
	st, err := statx(t.root)
	return int(st.Uid), int(st.Gid), err
}

// fill makes the new file temp in dir, whole and on disk.
func fill(dir *os.File, temp string, data []byte, to access) (err error) {
	fd, err := unix.Openat(int(dir.Fd()), temp,
		unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), temp)
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chown(to.uid, to.gid); err != nil {
		return err
	}
	if err := f.Chmod(to.mode); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// Symlink makes name a link to target, owned as WriteFile does. What stood
// there before, unless it is a directory, is replaced in one step. The target
// is written as it is: it means what it means inside the machine.
func (t *Tree) Symlink(target, name string) error {
	if err := checkName(target); err != nil || target == "" {
		return t.fail("link", name, fmt.Errorf("%q is no target of a link: %w", target, fs.ErrInvalid))
	}
	err := t.replace(name, func(dir *os.File, temp string) error {
		if err := unix.Symlinkat(target, int(dir.Fd()), temp); err != nil {
			return err
		}
		link, err := openAt(dir, temp, unix.O_PATH)
		if err != nil {
			return err
		}
		defer link.Close()
		// A machine that runs could have put a hard link in its place.
		if st, err := statx(link); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK || st.Nlink != 1 {
			return errors.Join(errors.New("it was replaced while it was made"), err)
		}
		return t.own(link)
	})
	if err != nil {
		return t.fail("link", name, err)
	}
	return nil
}

// replace lets prepare make a new file under a temporary name and renames it
// to name.
func (t *Tree) replace(name string, prepare func(dir *os.File, temp string) error) error {
	parent, base, err := split(name)
	if err != nil {
		return err
	}
	dir, err := t.makeDir(parent, 0o755)
	if err != nil {
		return err
	}
	defer dir.Close()
	temp := temporary()
	if err = prepare(dir, temp); err == nil {
		err = unix.Renameat(int(dir.Fd()), temp, int(dir.Fd()), base)
	}
	if err == nil {
		return nil
	}
	if rest := unix.Unlinkat(int(dir.Fd()), temp, 0); rest != nil && !errors.Is(rest, unix.ENOENT) {
		return errors.Join(err, fmt.Errorf("remove %q: %w", temp, rest))
	}
	return err
}

// own gives f, which may be a handle only, to the owner of the tree.
func (t *Tree) own(f *os.File) error {
	uid, gid, err := t.owner()
	if err != nil {
		return err
	}
	if err := unix.Fchownat(int(f.Fd()), "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("give to %d:%d: %w", uid, gid, err)
	}
	return nil
}

// Remove unlinks name, which must not be a directory and is not followed. It
// is no error when there is no such thing.
func (t *Tree) Remove(name string) error {
	dir, base, err := split(name)
	if err != nil {
		return t.fail("remove", name, err)
	}
	parent, err := t.open(dir)
	if err == nil {
		err = errors.Join(unix.Unlinkat(int(parent.Fd()), base, 0), parent.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return t.fail("remove", name, err)
	}
	return nil
}
