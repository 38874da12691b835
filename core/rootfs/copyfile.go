package rootfs

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// entry copies one entry of source unless it is a directory.
func (c *copier) entry(source, target *os.File, name string) (isDir bool, err error) {
	handle, err := unix.Openat(int(source.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // removed since its directory was read
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(handle) //nolint:errcheck // holds nothing
	// What is asked and opened from here on is the handle: nobody can put
	// anything else in its place.
	var st unix.Statx_t
	err = unix.Statx(handle, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME|unix.STATX_MNT_ID, &st)
	if err != nil {
		return false, err
	}
	if st.Mnt_id != c.mount || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return false, ErrMounted
	}
	to := int(target.Fd())
	var copyIt func() error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return true, nil
	case unix.S_IFSOCK:
		return false, nil // whoever listened on it does not in the clone
	case unix.S_IFREG:
		copyIt = func() error { return c.file(handle, to, name, &st) }
	case unix.S_IFLNK:
		copyIt = func() error { return c.symlink(handle, to, name, &st) }
	default:
		copyIt = func() error { return c.special(to, name, &st) }
	}
	if st.Nlink > 1 {
		return false, c.linked(to, name, &st, copyIt)
	}
	return false, copyIt()
}

func (c *copier) symlink(handle, to int, name string, st *unix.Statx_t) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(handle, "", buf)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(buf[:n]), to, name); err != nil {
		return err
	}
	uid, gid := c.owner(st)
	if err := unix.Fchownat(to, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return unix.UtimesNanoAt(to, name, times(st), unix.AT_SYMLINK_NOFOLLOW)
}

// special copies a device or named pipe. It is not opened.
func (c *copier) special(to int, name string, st *unix.Statx_t) error {
	device := int(unix.Mkdev(st.Rdev_major, st.Rdev_minor))
	if err := unix.Mknodat(to, name, uint32(st.Mode&unix.S_IFMT)|0o600, device); err != nil {
		return err
	}
	uid, gid := c.owner(st)
	if err := unix.Fchownat(to, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Fchmodat(to, name, uint32(st.Mode&0o7777), 0); err != nil {
		return err
	}
	return unix.UtimesNanoAt(to, name, times(st), unix.AT_SYMLINK_NOFOLLOW)
}

// file copies a regular file.
func (c *copier) file(handle, to int, name string, st *unix.Statx_t) (err error) {
	from, err := reopen(c.descriptors, handle)
	if err != nil {
		return err
	}
	defer unix.Close(from) //nolint:errcheck // only read from
	into, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(into)) }()
	if err := c.content(from, into, st); err != nil {
		return err
	}
	if err := c.dress(into, from, st); err != nil {
		return err
	}
	return unix.UtimesNanoAt(to, name, times(st), unix.AT_SYMLINK_NOFOLLOW)
}

// bufferSize is that of the buffer for files that fit into it: for those one
// read and one write are quicker than to have the kernel copy.
const bufferSize = 128 << 10

// content copies what is in a file: no more than it held when it was looked at,
// however it grows.
func (c *copier) content(from, into int, st *unix.Statx_t) error {
	size := int64(st.Size)
	if size == 0 {
		return nil
	}
	if !c.apart.Load() {
		switch err := unix.IoctlFileClone(into, from); {
		case err == nil:
			c.shared.Store(true)
			return nil
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.ENOSYS):
			c.apart.Store(true)
		} // else it is about this file, such as one that is not to be shared
	}
	if int64(st.Blocks)*512 < size {
		return c.sparse(from, into, size)
	}
	return c.stretch(from, into, 0, size)
}

// sparse copies what is between the holes of a file.
func (c *copier) sparse(from, into int, size int64) error {
	for at := int64(0); at < size; {
		data, err := unix.Seek(from, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= size {
			break // nothing but a hole is left
		}
		if errors.Is(err, unix.EINVAL) { // a file system that knows of no holes
			return c.stretch(from, into, 0, size)
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(from, data, unix.SEEK_HOLE)
		if err != nil && !errors.Is(err, unix.ENXIO) {
			return err
		}
		if err != nil || end > size {
			end = size
		}
		if err := c.stretch(from, into, data, end); err != nil {
			return err
		}
		at = end
	}
	return unix.Ftruncate(into, size)
}

// stretch copies a part of a file, or as much of it as is still there.
func (c *copier) stretch(from, into int, at, end int64) error {
	for end-at > bufferSize {
		in, out := at, at
		n, err := unix.CopyFileRange(from, &in, into, &out, int(min(end-at, 64<<20)), 0)
		switch {
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
			return c.buffered(from, into, at, end)
		case err != nil:
			return err
		case n == 0:
			return c.buffered(from, into, at, end) // some file systems say so where they cannot
		}
		at += int64(n)
	}
	return c.buffered(from, into, at, end)
}

func (c *copier) buffered(from, into int, at, end int64) error {
	buffer, ok := c.buffers.Get().(*[]byte)
	if !ok {
		panic("the pool holds something else than buffers") // only New fills it
	}
	defer c.buffers.Put(buffer)
	for at < end {
		n, err := unix.Pread(from, (*buffer)[:min(end-at, bufferSize)], at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		for done := 0; done < n; {
			m, err := unix.Pwrite(into, (*buffer)[done:n], at+int64(done))
			if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
			done += max(m, 0)
		}
		at += int64(n)
	}
	return nil
}
