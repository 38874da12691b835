package rootfs

import (
	"errors"
	"fmt"
	"os"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// FS_IMMUTABLE_FL and FS_APPEND_FL of linux/fs.h: what chattr calls +i and +a.
const lockingFlags = 0x10 | 0x20

// clearFlags lets f, an open regular file or directory, be removed or have its
// entries removed. It returns the flags as they were, or 0 when nothing had to
// be changed.
func clearFlags(f *os.File) (uint32, error) {
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return 0, nil // this file system has none
	}
	if err != nil {
		return 0, fmt.Errorf("read attributes: %w", err)
	}
	if flags&lockingFlags == 0 {
		return 0, nil
	}
	return flags, setFlags(f, flags&^lockingFlags)
}

func setFlags(f *os.File, flags uint32) error {
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags)); err != nil {
		return fmt.Errorf("set attributes: %w", err)
	}
	return nil
}

// unlinkAt removes an entry of dir, also where attributes of dir or of the
// entry forbid it.
func unlinkAt(dir *os.File, base string, flags int) error {
	err := unix.Unlinkat(int(dir.Fd()), base, flags)
	if errors.Is(err, unix.EROFS) {
		return unlinkReadOnly(dir, base, flags)
	}
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	if _, err := clearFlags(dir); err != nil {
		return err
	}
	entry, err := openPlain(dir, base)
	if err != nil {
		return err
	}
	if entry == nil {
		return unix.Unlinkat(int(dir.Fd()), base, flags)
	}
	defer entry.Close()
	before, err := clearFlags(entry)
	if err != nil {
		return err
	}
	err = unix.Unlinkat(int(dir.Fd()), base, flags)
	if before == 0 {
		return err
	}
	// A file with a hard link elsewhere may be the host's: it keeps its flags.
	info, statErr := statx(entry)
	if statErr != nil {
		return errors.Join(err, statErr)
	}
	if info.Mode&unix.S_IFMT == unix.S_IFREG && info.Nlink > 0 {
		return errors.Join(err, setFlags(entry, before))
	}
	return err
}

// unlinkReadOnly removes an entry of a read-only subvolume of btrfs, or such a
// subvolume itself. On anything else that is read-only it fails.
func unlinkReadOnly(dir *os.File, base string, flags int) error {
	if err := unlockSubvolume(dir); err != nil {
		return err
	}
	entry, err := openPlain(dir, base)
	if err != nil {
		return err
	}
	if entry != nil {
		if err := errors.Join(unlockSubvolume(entry), entry.Close()); err != nil {
			return err
		}
	}
	return unix.Unlinkat(int(dir.Fd()), base, flags)
}

// openPlain opens an entry of dir if it is a regular file or a directory, the
// only ones that have attributes. To open anything else could have effects.
func openPlain(dir *os.File, base string) (*os.File, error) {
	handle, err := openAt(dir, base, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	info, err := handle.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, nil //nolint:nilnil // neither: nothing to open and nothing wrong
	}
	return pathrs.Reopen(handle, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
}
