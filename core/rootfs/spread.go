package rootfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// topDirectory is FS_TOPDIR_FL of linux/fs.h.
const topDirectory = 0x00020000

// spread tells ext4 that what is made in a directory has nothing to do with what
// is beside it, as `chattr +T` does, until undo is called. ext4 then puts the
// next directory into another part of the disk, and what is made below near that.
//
// It is for a tree that is made where another one was just removed. ext4 does not
// give out the inodes of what was deleted within the last minutes, and looks at
// all of them for each new file: in their part of the disk, filling a tree takes
// ten times as long. On other file systems nothing is done.
func spread(dir *os.File) (undo func()) {
	undo = func() {}
	var on unix.Statfs_t
	if unix.Fstatfs(int(dir.Fd()), &on) != nil || on.Type != unix.EXT4_SUPER_MAGIC {
		return undo
	}
	flags, err := unix.IoctlGetInt(int(dir.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&topDirectory != 0 {
		return undo
	}
	// It is for speed alone: where it cannot be done, it is not.
	if unix.IoctlSetPointerInt(int(dir.Fd()), unix.FS_IOC_SETFLAGS, flags|topDirectory) != nil {
		return undo
	}
	return func() { _ = unix.IoctlSetPointerInt(int(dir.Fd()), unix.FS_IOC_SETFLAGS, flags) }
}
