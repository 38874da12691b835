package quarters

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// Scratch is a directory for what is too large for the runtime directory, which
// is memory: whole trees. It is in one that others write to as well, such as
// /var/tmp, and nobody else can look into it.
type Scratch struct {
	Dir  string
	lock *os.File
}

// Scratch makes one in parent, and removes those that killed processes left
// there.
func (k Kind) Scratch(ctx context.Context, parent string) (*Scratch, error) {
	var err error
	for range 1000 {
		k.sweepScratch(ctx, parent)
		var dir string
		if dir, err = os.MkdirTemp(parent, k.Prefix); err != nil {
			return nil, err
		}
		var lock *os.File
		if lock, err = lockDirectory(dir); err == nil {
			return &Scratch{dir, lock}, nil
		}
		// Another process may have taken it for left by the dead.
		if !errors.Is(err, errInUse) && !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(err, os.Remove(dir))
		}
	}
	return nil, err
}

// sweepScratch removes those that nobody lives in. That one cannot be removed is
// no reason not to go on.
func (k Kind) sweepScratch(ctx context.Context, parent string) {
	k.left(parent, func(dir string, lock *os.File) {
		if !made(lock, parent) {
			_ = lock.Close()
			return
		}
		_ = (&Scratch{dir, lock}).Leave(ctx)
	})
}

// made tells whether a directory is as this program makes them: this user's,
// closed to all others, and nothing that is mounted. Anybody can give theirs the
// name.
func made(dir *os.File, parent string) bool {
	const want = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_UID | unix.STATX_MNT_ID
	var own, above unix.Statx_t
	if unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, want, &own) != nil || unix.Statx(unix.AT_FDCWD, parent, 0, want, &above) != nil {
		return false
	}
	return int(own.Uid) == os.Geteuid() && own.Mode == unix.S_IFDIR|0o700 && own.Mnt_id == above.Mnt_id
}

// Leave removes it. What is killed meanwhile leaves it in its place, for the
// next to find; a mount in it stays, and so does it.
func (s *Scratch) Leave(ctx context.Context) error {
	return errors.Join(Remove(ctx, s.Dir), s.lock.Close())
}

// Remove removes a directory that this program made, and all that is in it. A
// mount at or in it stays, and so does the directory. What is not there is no
// error.
func Remove(ctx context.Context, dir string) error {
	err := refuseMount(dir)
	if err == nil {
		err = empty(ctx, dir)
	}
	if err == nil {
		err = os.Remove(dir)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// refuseMount fails unless dir is a directory on the same mount as the one that
// it is in.
func refuseMount(dir string) error {
	const want = unix.STATX_TYPE | unix.STATX_MNT_ID
	var own, above unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, want, &own); err != nil {
		return err
	}
	if err := unix.Statx(unix.AT_FDCWD, filepath.Dir(dir), 0, want, &above); err != nil {
		return err
	}
	switch {
	case own.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%q is no directory of ours", dir)
	case own.Mnt_id != above.Mnt_id:
		return fmt.Errorf("%q: %w", dir, rootfs.ErrMounted)
	}
	return nil
}

func empty(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = removeTree(ctx, path)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("remove what is left at %q: %w", path, err)
		}
	}
	return nil
}

func removeTree(ctx context.Context, path string) error {
	tree, err := rootfs.Open(path)
	if err != nil {
		return err
	}
	id, err := tree.Identity()
	if err := errors.Join(err, tree.Close()); err != nil {
		return err
	}
	return rootfs.RemoveTree(ctx, path, id)
}
