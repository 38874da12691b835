package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cyphar/filepath-securejoin/pathrs-lite/procfs"
	"golang.org/x/sys/unix"
)

// Way is how a tree was cloned.
type Way string

// The ways, the best first.
const (
	Snapshot Way = "snapshot" // of btrfs: all at one moment, sharing everything
	Reflink  Way = "reflink"  // file by file, sharing what is in them
	Copy     Way = "copy"     // byte by byte
)

// ErrInUse is returned where only a snapshot would do, and there can be none.
var ErrInUse = errors.New("the tree is in use and cannot be cloned as it was at one moment")

// ErrChanged is returned for a tree that was changed while it was copied.
var ErrChanged = errors.New("the tree was changed while it was copied")

// CloneOptions say how to clone.
type CloneOptions struct {
	// Leave names directories whose content need not be copied. A snapshot has
	// it nevertheless: who does not want it clears it.
	Leave []string
	// InUse says that somebody may be writing to the tree: then only a snapshot
	// will do.
	InUse bool
	// Progress is told how many files have been copied, every now and then and
	// by several goroutines; nil for nobody.
	Progress func(files uint64)
}

// Clone makes a copy of the tree at the absolute path to, where nothing must be
// and where nobody but the caller can come near. It has everything but sockets:
// owners by number, modes, times, ACLs, file capabilities and other extended
// attributes of files and directories, holes, and the hard links that lead from
// one of its files to another. Attributes of chattr(1) are only in a snapshot.
//
// The tree itself is read and never written to, not even its times of access,
// but for those of links, which the kernel always keeps.
// Nothing in it is followed, whoever moves it about meanwhile; of its files only
// regular ones are opened. Where something is mounted at or in it there is no
// clone, and ErrMounted.
//
// A tree that systemd-nspawn gave to a range of users other than the first,
// because it could not map them, is copied as one of the first range, by
// systemd-nspawn's own rule: it keeps the lower 16 bits. Whatever boots the
// clone is free to choose a range for it, and will not find that of its origin.
func (t *Tree) Clone(ctx context.Context, to string, o CloneOptions) (Way, error) {
	way, err := t.clone(ctx, to, o)
	if err != nil {
		return way, fmt.Errorf("clone tree %q: %w", t.path, err)
	}
	return way, nil
}

func (t *Tree) clone(ctx context.Context, to string, o CloneOptions) (Way, error) {
	source, err := openAt(t.root, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer source.Close()
	doNotTouch(source)
	if err := refuseMounts(source); err != nil {
		return "", err
	}
	parent, base, err := openParent(to)
	if err != nil {
		return "", err
	}
	defer parent.Close()
	shifted, err := isShifted(source)
	if err != nil {
		return "", err
	}
	if !shifted {
		done, err := snapshotTree(ctx, source, parent, base)
		if err != nil || done {
			return Snapshot, err
		}
	}
	if o.InUse {
		return "", ErrInUse
	}
	return copyTree(ctx, t, source, to, o)
}

// isShifted tells whether the tree below root was given to a range of users
// that does not begin with the host's root, as systemd-nspawn does: such ranges
// are of 65536 and begin at a multiple of that.
func isShifted(root *os.File) (bool, error) {
	st, err := statx(root)
	return st.Uid >= userRange && st.Uid%userRange == 0, err
}

// userRange is how many users a machine has.
const userRange = 1 << 16

func copyTree(ctx context.Context, t *Tree, source *os.File, to string, o CloneOptions) (Way, error) {
	if err := makeRoot(to); err != nil {
		return "", err
	}
	target, err := openDirectory(to)
	if err != nil {
		return "", err
	}
	defer target.Close()
	c, err := newCopier(t, source, target, o)
	if err != nil {
		return "", err
	}
	defer c.close()
	err = together(ctx, func(ctx context.Context, crew *crew) error {
		return c.directory(ctx, crew, source, target, &spot{})
	})
	if err == nil {
		err = c.removeWork(ctx, target)
	}
	if err == nil {
		// The root's own times and owner; its name is that of the tree.
		err = c.finishDirectory(source, target)
	}
	if err != nil {
		return "", err
	}
	if c.shared.Load() {
		return Reflink, nil
	}
	return Copy, nil
}

// openDirectory opens a directory of ours by its path.
func openDirectory(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openDescriptors opens the directory in which the kernel shows what this
// process has open, and makes sure that it is the kernel's.
func openDescriptors() (*os.File, error) {
	proc, err := procfs.OpenProcRoot()
	if err != nil {
		return nil, err
	}
	dir, err := proc.OpenSelf("fd/")
	return dir, errors.Join(err, proc.Close())
}
