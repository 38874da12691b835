package rootfs

import (
	"fmt"
	"os"
	"time"

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
	id.Subvolume, err = subvolume(dir, st.Ino)
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
