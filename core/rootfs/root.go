package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// MakeRoot makes the directory that is to be a tree's root, of mode 0755
// whatever the umask; on btrfs it is a subvolume, so that it can be cloned in
// no time. The directory above must belong to nobody but the caller.
func MakeRoot(path string) error {
	if err := makeRoot(path); err != nil {
		return fmt.Errorf("make the root of a tree: %w", err)
	}
	return nil
}

func makeRoot(path string) error {
	parent, base, err := openParent(path)
	if err != nil {
		return err
	}
	defer parent.Close()
	var on unix.Statfs_t
	if err := unix.Fstatfs(int(parent.Fd()), &on); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	// Where subvolumes are forbidden, or out of quota, a directory will do.
	if on.Type != unix.BTRFS_SUPER_MAGIC || makeSubvolume(parent, base) != nil {
		undo := spread(parent)
		err := unix.Mkdirat(int(parent.Fd()), base, 0o755)
		undo()
		if err != nil {
			return err
		}
	}
	root, err := openAt(parent, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return errors.Join(root.Chmod(0o755), root.Close())
}

// Clear removes everything in the directory that name leads to, and leaves the
// directory. It is no error when there is no such directory. Nothing below a
// mount point is removed: it fails there with ErrMounted.
func (t *Tree) Clear(ctx context.Context, name string) error {
	handle, err := t.open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err == nil {
		err = errors.Join(t.clear(ctx, handle), handle.Close())
	}
	if err != nil {
		return t.fail("clear", name, err)
	}
	return nil
}

func (t *Tree) clear(ctx context.Context, handle *os.File) error {
	dir, err := openAt(handle, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	at, err := where(dir)
	if err != nil {
		return err
	}
	top, err := where(t.root)
	if err == nil && at.mount != top.mount {
		err = ErrMounted
	}
	if err != nil {
		return err
	}
	return empty(ctx, dir, at)
}
