package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Of linux/btrfs.h, as in btrfs.go.
const (
	ioctlSubvolCreate  = 1<<30 | 4096<<16 | 0x94<<8 | 14
	ioctlSnapCreate    = 1<<30 | 4096<<16 | 0x94<<8 | 23
	ioctlInoLookup     = 3<<30 | 4096<<16 | 0x94<<8 | 18
	ioctlSubvolRootRef = 3<<30 | 4096<<16 | 0x94<<8 | 61 // since Linux 4.18
	ioctlFSInfo        = 2<<30 | 1024<<16 | 0x94<<8 | 31

	stubIno = 2 // BTRFS_EMPTY_SUBVOL_DIR_OBJECTID
)

type subvolName struct {
	_    int64 // a descriptor, for a request of another kind
	name [4088]byte
}

type snapshotName struct {
	fd    int64  // of what is snapshotted
	_     uint64 // a transaction's number
	flags uint64
	_     [4]uint64
	name  [4040]byte
}

type inoPath struct {
	_    uint64 // 0: in the subvolume that the request is made of
	ino  uint64
	path [4080]byte
}

type rootRefs struct {
	least uint64
	refs  [255]struct{ tree, directory uint64 }
	count uint8
	_     [7]uint8
}

type fsInfo struct {
	_    [2]uint64
	uuid [16]byte
	_    [992]byte
}

func makeSubvolume(parent *os.File, name string) error {
	var arg subvolName
	copy(arg.name[:len(arg.name)-1], name)
	return ioctl(parent, ioctlSubvolCreate, &arg)
}

func makeSnapshot(source, parent *os.File, name string, flags uint64) error {
	arg := snapshotName{fd: int64(source.Fd()), flags: flags}
	copy(arg.name[:len(arg.name)-1], name)
	return ioctl(parent, ioctlSnapCreate, &arg)
}

// Snapshots tells whether a clone in a directory, which need not exist yet,
// would be a snapshot.
func (t *Tree) Snapshots(directory string) bool {
	root, err := openAt(t.root, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer root.Close()
	st, err := statx(root)
	if err != nil {
		return false
	}
	if is, err := isSubvolume(root, st.Ino); err != nil || !is {
		return false
	}
	if shifted, err := isShifted(root); err != nil || shifted {
		return false
	}
	for {
		dir, err := os.Open(directory)
		if errors.Is(err, fs.ErrNotExist) && directory != "/" {
			directory = filepath.Dir(directory)
			continue
		}
		if err != nil {
			return false
		}
		defer dir.Close()
		var here, there fsInfo
		return ioctl(root, ioctlFSInfo, &here) == nil && ioctl(dir, ioctlFSInfo, &there) == nil && here.uuid == there.uuid
	}
}

// snapshotTree makes name in parent a snapshot of the subvolume whose root
// source is, and of those in it. It says false, and nothing was made, where
// there can be none.
func snapshotTree(ctx context.Context, source, parent *os.File, name string) (bool, error) {
	st, err := statx(source)
	if err != nil {
		return false, err
	}
	if is, err := isSubvolume(source, st.Ino); err != nil || !is {
		return false, err
	}
	if makeSnapshot(source, parent, name, 0) != nil {
		return false, nil // on another file system, say, or a swap file is in it
	}
	copied, err := openAt(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false, err
	}
	defer copied.Close()
	return true, snapshotNested(ctx, source, copied)
}

// snapshotNested fills the empty directories that a snapshot has in place of
// the subvolumes in its origin. Where they are is asked of the snapshot, which
// nobody moves about.
func snapshotNested(ctx context.Context, source, copied *os.File) error {
	directories, err := nestedIn(source)
	if err != nil {
		return err
	}
	for _, ino := range directories {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := inoPath{ino: ino}
		if err := ioctl(copied, ioctlInoLookup, &at); errors.Is(err, fs.ErrNotExist) {
			continue // made since
		} else if err != nil {
			return fmt.Errorf("ask where a subvolume is: %w", err)
		}
		path, _, _ := strings.Cut(string(at.path[:]), "\x00")
		if err := fillStubs(ctx, source, copied, strings.Trim(path, "/")); err != nil {
			return fmt.Errorf("in its directory %q: %w", path, err)
		}
	}
	return nil
}

// nestedIn lists the inode numbers of the directories of a subvolume that hold
// another one.
func nestedIn(subvolume *os.File) ([]uint64, error) {
	var found []uint64
	seen := map[uint64]bool{}
	for arg := (rootRefs{}); ; {
		err := ioctl(subvolume, ioctlSubvolRootRef, &arg)
		if err != nil && !errors.Is(err, unix.EOVERFLOW) {
			return nil, fmt.Errorf("ask for the subvolumes in it: %w", err)
		}
		for _, ref := range arg.refs[:min(int(arg.count), len(arg.refs))] {
			if !seen[ref.directory] {
				seen[ref.directory] = true
				found = append(found, ref.directory)
			}
			arg.least = ref.tree + 1
		}
		if err == nil || arg.count == 0 {
			return found, nil
		}
	}
}

func fillStubs(ctx context.Context, source, copied *os.File, path string) error {
	dir, err := descend(copied, path)
	if err != nil {
		return err
	}
	defer dir.Close()
	before, err := statx(dir)
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		handle, err := openAt(dir, name, unix.O_PATH)
		if err != nil {
			return err
		}
		st, err := statx(handle)
		if err := errors.Join(err, handle.Close()); err != nil {
			return err
		}
		if st.Ino != stubIno || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if err := fillStub(ctx, source, dir, path, name); err != nil {
			return fmt.Errorf("subvolume %q: %w", name, err)
		}
	}
	return unix.UtimesNanoAt(int(dir.Fd()), ".", times(&before), 0)
}

func fillStub(ctx context.Context, source, dir *os.File, path, name string) error {
	if err := unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR); err != nil {
		return err
	}
	nested, err := descend(source, filepath.Join(path, name))
	if err == nil {
		defer nested.Close()
		done, err := snapshotTree(ctx, nested, dir, name)
		if err != nil || done {
			return err
		}
	}
	// A machine that runs has removed it since, or put something else there.
	return unix.Mkdirat(int(dir.Fd()), name, 0o755)
}

// descend opens a directory below top, and follows nothing on the way there.
func descend(top *os.File, path string) (*os.File, error) {
	dir, err := openAt(top, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	at, err := where(dir)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		next, _, err := openSameMount(dir, part, at.mount)
		if err := errors.Join(err, dir.Close()); err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}
