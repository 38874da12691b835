package rootfs

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Identity recognises the very directory that we made. It survives a rename
// and a reboot; another directory later made at the same path has another
// one, even where the file system gives out the inode number again. Compare
// with ==. The zero Identity is that of no directory.
type Identity struct {
	Ino uint64 `json:"ino,string"`
	// Btime is when the directory was made, in nanoseconds since 1970. It is
	// 0 on file systems that do not record it: there Ino alone must do.
	Btime int64 `json:"btime,string"`
	// Subvolume is the UUID of the btrfs subvolume, in hex, where the
	// directory is the root of one: a snapshot has the inode number and the
	// birth time of its origin, so these do not tell them apart.
	Subvolume string `json:"subvolume,omitempty"`
}

// String is for messages.
func (id Identity) String() string {
	return fmt.Sprintf("inode %d%s made at %s", id.Ino, id.Subvolume, time.Unix(0, id.Btime).UTC().Format(time.RFC3339Nano))
}

// identify asks the kernel for the identity of an open directory.
func identify(dir *os.File) (Identity, error) {
	st, err := statx(dir)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{Ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Btime = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	if id.Ino == subvolumeRootIno {
		id.Subvolume, err = subvolume(dir)
	}
	return id, err
}

// statx reads all that this package wants to know of an open file.
func statx(f *os.File) (unix.Statx_t, error) {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH,
		unix.STATX_BASIC_STATS|unix.STATX_BTIME|unix.STATX_MNT_ID, &st)
	if err != nil {
		return st, fmt.Errorf("statx: %w", err)
	}
	return st, nil
}

const (
	// subvolumeRootIno is BTRFS_FIRST_FREE_OBJECTID of linux/btrfs_tree.h.
	subvolumeRootIno = 256
	// ioctlSubvolInfo is BTRFS_IOC_GET_SUBVOL_INFO of linux/btrfs.h, there
	// since Linux 4.18 and open to every user.
	ioctlSubvolInfo = 2<<30 | 504<<16 | 0x94<<8 | 60
	// subvolUUID is the offset of the UUID in what it returns: after treeid,
	// name[256], parent_id, dirid, generation and flags.
	subvolUUID = 8 + 256 + 4*8
)

// subvolume returns the UUID of the btrfs subvolume whose root dir is, and
// nothing on any other file system.
func subvolume(dir *os.File) (string, error) {
	var on unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &on); err != nil {
		return "", fmt.Errorf("statfs: %w", err)
	}
	if on.Type != unix.BTRFS_SUPER_MAGIC {
		return "", nil
	}
	f, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var info [504]byte
	//nolint:gosec // x/sys has no call for it; info is as large as the number of the ioctl says
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctlSubvolInfo, uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return "", fmt.Errorf("ask for the subvolume: %w", errno)
	}
	return fmt.Sprintf("%x", info[subvolUUID:subvolUUID+16]), nil
}
