package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrNotOurs is returned when there is something at the path, but it is not
// the tree that was meant. It was not touched.
var ErrNotOurs = errors.New("not the tree that was made here")

// ErrMounted is returned when something is mounted at or in the tree. Nothing
// below a mount point is ever removed.
var ErrMounted = errors.New("something is mounted in the tree")

// RemoveTree removes the tree at path if its identity is want. It first
// renames it to a hidden name beside, so that no half-removed tree is ever
// seen under the machine's name.
//
// The hidden name, ".nspawn-build-removing-" and the identity, follows from
// the arguments alone. After a crash or an error the same call therefore finds
// what is left, under either name, and goes on; whoever calls must keep path
// and want until it has returned nil. Once the tree is hidden, something else
// may already be at path: that is left alone and is no error. It is no error
// either when there is nothing under both names.
//
// It refuses before it touches anything when this process sees a mount at or
// in the tree; what other mount namespaces have mounted there is detached
// from it by the kernel, and its content stays. Names are only ever used
// relative to open directories and never followed. Immutable and append-only
// files are removed too; when one has a hard link elsewhere, that keeps its
// attributes. Nested btrfs subvolumes, read-only ones too, are removed as
// directories are, which Linux 4.18 and later allow.
func RemoveTree(ctx context.Context, path string, want Identity) error {
	if err := removeTree(ctx, path, want); err != nil {
		return fmt.Errorf("remove tree %q: %w", path, err)
	}
	return nil
}

func removeTree(ctx context.Context, path string, want Identity) error {
	parent, base, err := openParent(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	hidden := hiddenName(want)
	tree, found, err := find(parent, want, hidden, base)
	if tree == nil {
		return err
	}
	defer tree.Close()
	if found != hidden {
		if err := hide(parent, found, hidden, want, tree); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := removeHidden(ctx, parent, hidden, tree); err != nil {
		return err
	}
	return parent.Sync()
}

// hiddenName is what a tree is called while it is being removed.
func hiddenName(id Identity) string {
	return fmt.Sprintf(".nspawn-build-removing-%x-%x%s", id.Ino, uint64(id.Btime), id.Subvolume)
}

// find opens the wanted tree under the first of the names where it is. It
// returns nil when there is nothing under all of them.
func find(parent *os.File, want Identity, names ...string) (*os.File, string, error) {
	for _, name := range names {
		tree, err := openAt(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil, "", fmt.Errorf("%w: %q is no directory", ErrNotOurs, filepath.Join(parent.Name(), name))
		}
		if err != nil {
			return nil, "", err
		}
		err = refuseMounts(tree)
		if err == nil {
			err = refuseForeign(tree, want)
		}
		if err != nil {
			return nil, "", errors.Join(err, tree.Close())
		}
		return tree, name, nil
	}
	return nil, "", nil
}

// refuseForeign fails unless dir is the wanted one.
func refuseForeign(dir *os.File, want Identity) error {
	is, err := identify(dir)
	if err != nil {
		return err
	}
	if is != want {
		return fmt.Errorf("%w: it is %v and not %v", ErrNotOurs, is, want)
	}
	return nil
}

// hide renames the tree to its hidden name and makes sure that it was the one
// that is open.
func hide(parent *os.File, name, hidden string, want Identity, tree *os.File) error {
	err := renameNew(parent, name, parent, hidden)
	if errors.Is(err, unix.EPERM) {
		if _, err := clearFlags(tree); err != nil {
			return err
		}
		err = renameNew(parent, name, parent, hidden)
	}
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: at its root", ErrMounted)
	}
	if err != nil {
		return fmt.Errorf("hide it as %q: %w", hidden, err)
	}
	moved, err := openAt(parent, hidden, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == nil {
		err = errors.Join(refuseForeign(moved, want), moved.Close())
	}
	if err != nil { // it was swapped in between: put back what was taken
		return errors.Join(err, renameNew(parent, hidden, parent, name))
	}
	return nil
}
