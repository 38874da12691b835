package doctor

import "golang.org/x/sys/unix"

// statfs is a file system with that many blocks of 4096 bytes free.
func statfs(free uint64) unix.Statfs_t {
	return unix.Statfs_t{Bavail: free, Bsize: 4096, Files: 1 << 20, Ffree: 1 << 19}
}
