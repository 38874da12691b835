package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Files up to fillBuffer bytes are read whole and written by whoever has
// nothing to do, while the next one is read; fillBuffers of them at most wait
// or are written. Of a bigger one reading takes so long that it is no matter
// who writes.
const (
	fillBuffer  = 256 << 10
	fillBuffers = 32
	holeSize    = 64 << 10 // zeros at a stretch that are left out
)

// File makes a file of size bytes and returns when they have been read. An
// error may be that of a file before it.
func (f *Filler) File(name string, a Attributes, size int64, content io.Reader) error {
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	dir, base, err := f.parent(name, File)
	if err != nil {
		return err
	}
	buffer := f.buffer()
	if size > fillBuffer {
		defer func() { f.room <- buffer }()
		return makeFile(dir, base, a, func(to int) error { return pour(f.ctx, to, content, size, buffer) })
	}
	data := buffer[:size]
	if _, err := io.ReadFull(content, data); err != nil {
		f.room <- buffer
		return cutShort(err)
	}
	dir.users.Add(1)
	f.pending.Add(1)
	f.jobs <- func() error {
		defer dir.release()
		defer func() { f.room <- buffer }()
		if f.ctx.Err() != nil {
			return nil //nolint:nilerr // that is known
		}
		if err := makeFile(dir, base, a, func(to int) error { return writeAll(to, data, 0) }); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		return nil
	}
	return nil
}

// buffer waits for one that nobody has.
func (f *Filler) buffer() []byte {
	select {
	case b := <-f.room:
		return b
	default:
	}
	if f.buffers < fillBuffers {
		f.buffers++
		return make([]byte, fillBuffer)
	}
	return <-f.room
}

// makeFile makes one new file with what write puts into it.
func makeFile(dir *rung, base string, a Attributes, write func(to int) error) (err error) {
	to, err := unix.Openat(int(dir.dir.Fd()), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(to)) }()
	if err := write(to); err != nil {
		return err
	}
	if err := dress(to, a); err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(dir.dir.Fd()), base, a.times(), unix.AT_SYMLINK_NOFOLLOW)
}

// dress is what copier.dress does, with attributes that were told.
func dress(to int, a Attributes) error {
	if err := unix.Fchown(to, a.UID, a.GID); err != nil {
		return err
	}
	if err := unix.Fchmod(to, a.Mode&0o7777); err != nil {
		return err
	}
	for _, name := range a.sortedNames() {
		if !carried(name) {
			continue
		}
		if err := setAttribute(to, name, []byte(a.Xattrs[name])); err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

// pour writes size bytes and leaves out what is zero anyway. Those may be without
// end and take nothing to come, so that only ctx ends them.
func pour(ctx context.Context, to int, content io.Reader, size int64, buffer []byte) error {
	for at := int64(0); at < size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		part := buffer[:min(int64(len(buffer)), size-at)]
		if _, err := io.ReadFull(content, part); err != nil {
			return cutShort(err)
		}
		for len(part) > 0 {
			n := min(len(part), holeSize)
			if !bytes.Equal(part[:n], zeros[:n]) {
				if err := writeAll(to, part[:n], at); err != nil {
					return err
				}
			}
			at += int64(n)
			part = part[n:]
		}
	}
	return unix.Ftruncate(to, size)
}

var zeros [holeSize]byte

func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func writeAll(to int, data []byte, at int64) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(to, data, at)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		n = max(n, 0)
		data, at = data[n:], at+int64(n)
	}
	return nil
}
