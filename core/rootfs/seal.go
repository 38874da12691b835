package rootfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Seal recognises a read-only snapshot of btrfs and tells whether anything in it
// was changed since it was made: the kernel writes down the transaction of the
// last change to a subvolume, and keeps the number through making it read-only
// again and through being snapshotted itself. That what is read is what was
// written, btrfs' own checksums see to. Compare with ==.
type Seal struct {
	Subvolume string `json:"subvolume"`     // its UUID, in hex
	Made      uint64 `json:"made,string"`   // the transaction that made it
	Change    uint64 `json:"change,string"` // and that of the last change in it
}

// ErrUnsealed is returned for what is no read-only snapshot.
var ErrUnsealed = errors.New("not a read-only subvolume of btrfs")

// Of btrfs_ioctl_get_subvol_info_args: after the UUID come those of the parent
// and of what was received, then the transactions of change and making.
const (
	subvolChange = subvolUUID + 3*16
	subvolMade   = subvolChange + 8
)

// SealAs makes a read-only snapshot of the tree at the absolute path to, where
// nothing must be. It says false, and made nothing, where there can be none:
// the tree is no subvolume, holds others, or is on another file system.
func (t *Tree) SealAs(to string) (Seal, bool, error) {
	seal, done, err := t.sealAs(to)
	if err != nil {
		err = fmt.Errorf("seal tree %q: %w", t.path, err)
	}
	return seal, done, err
}

func (t *Tree) sealAs(to string) (Seal, bool, error) {
	source, err := openAt(t.root, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return Seal{}, false, err
	}
	defer source.Close()
	if err := refuseMounts(source); err != nil {
		return Seal{}, false, err
	}
	st, err := statx(source)
	if err != nil {
		return Seal{}, false, err
	}
	if is, err := isSubvolume(source, st.Ino); err != nil || !is {
		return Seal{}, false, err
	}
	// A snapshot has empty directories in place of the subvolumes in its origin.
	if nested, err := nestedIn(source); err != nil || len(nested) > 0 {
		return Seal{}, false, err
	}
	parent, base, err := openParent(to)
	if err != nil {
		return Seal{}, false, err
	}
	defer parent.Close()
	if makeSnapshot(source, parent, base, subvolumeLocked) != nil {
		return Seal{}, false, nil
	}
	sealed, err := openAt(parent, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return Seal{}, false, err
	}
	defer sealed.Close()
	seal, err := readSeal(sealed)
	return seal, err == nil, err
}

// Seal reads the tree's seal; ErrUnsealed when it can be written to.
func (t *Tree) Seal() (Seal, error) {
	root, err := openAt(t.root, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return Seal{}, t.fail("read the seal of", "/", err)
	}
	defer root.Close()
	seal, err := readSeal(root)
	if err != nil {
		return Seal{}, fmt.Errorf("read the seal of tree %q: %w", t.path, err)
	}
	return seal, nil
}

func readSeal(dir *os.File) (Seal, error) {
	st, err := statx(dir)
	if err != nil {
		return Seal{}, err
	}
	is, err := isSubvolume(dir, st.Ino)
	if err == nil && !is {
		err = ErrUnsealed
	}
	if err != nil {
		return Seal{}, err
	}
	var flags uint64
	if err := ioctl(dir, ioctlSubvolGetFlags, &flags); err != nil {
		return Seal{}, fmt.Errorf("read the subvolume's flags: %w", err)
	}
	if flags&subvolumeLocked == 0 {
		return Seal{}, ErrUnsealed
	}
	var info [504]byte
	if err := ioctl(dir, ioctlSubvolInfo, &info); err != nil {
		return Seal{}, fmt.Errorf("ask for the subvolume: %w", err)
	}
	return Seal{
		Subvolume: fmt.Sprintf("%x", info[subvolUUID:subvolUUID+16]),
		Made:      binary.NativeEndian.Uint64(info[subvolMade:]),
		Change:    binary.NativeEndian.Uint64(info[subvolChange:]),
	}, nil
}
