package rootfs

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of linux/btrfs.h and linux/btrfs_tree.h, for architectures that number
// their ioctls the common way.
const (
	subvolumeRootIno = 256 // BTRFS_FIRST_FREE_OBJECTID
	subvolumeLocked  = 1 << 1

	ioctlSubvolGetFlags = 2<<30 | 8<<16 | 0x94<<8 | 25
	ioctlSubvolSetFlags = 1<<30 | 8<<16 | 0x94<<8 | 26
	ioctlSubvolInfo     = 2<<30 | 504<<16 | 0x94<<8 | 60 // since Linux 4.18

	// Before the UUID come treeid, name[256], parent_id, dirid, generation
	// and flags.
	subvolUUID = 8 + 256 + 4*8
)

// isSubvolume tells whether dir is the root of a btrfs subvolume.
func isSubvolume(dir *os.File, ino uint64) (bool, error) {
	if ino != subvolumeRootIno { // which other file systems have as well
		return false, nil
	}
	var on unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &on); err != nil {
		return false, fmt.Errorf("statfs: %w", err)
	}
	return on.Type == unix.BTRFS_SUPER_MAGIC, nil
}

// subvolume returns the UUID of the btrfs subvolume whose root dir is, and
// nothing of any other directory.
func subvolume(dir *os.File, ino uint64) (string, error) {
	if is, err := isSubvolume(dir, ino); !is {
		return "", err
	}
	f, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var info [504]byte
	if err := ioctl(f, ioctlSubvolInfo, &info); err != nil {
		return "", fmt.Errorf("ask for the subvolume: %w", err)
	}
	return fmt.Sprintf("%x", info[subvolUUID:subvolUUID+16]), nil
}

// unlockSubvolume makes a read-only subvolume writable, for its entries to be
// removed. It does nothing to any other directory.
func unlockSubvolume(dir *os.File) error {
	st, err := statx(dir)
	if err != nil {
		return err
	}
	if is, err := isSubvolume(dir, st.Ino); !is {
		return err
	}
	var flags uint64
	if err := ioctl(dir, ioctlSubvolGetFlags, &flags); err != nil {
		return fmt.Errorf("read the subvolume's flags: %w", err)
	}
	if flags &^= subvolumeLocked; ioctl(dir, ioctlSubvolSetFlags, &flags) != nil {
		return fmt.Errorf("make the subvolume writable: %w", unix.EROFS)
	}
	return nil
}

// ioctl is for requests that x/sys has no function for. T must be as large as
// the request's number says.
func ioctl[T any](f *os.File, request uintptr, argument *T) error {
	//nolint:gosec // the callers, here and in snapshot.go, keep to that
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(argument)))
	if errno != 0 {
		return errno
	}
	return nil
}
