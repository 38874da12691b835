package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// ErrTooLarge is returned for a file longer than the caller wants to hold.
var ErrTooLarge = errors.New("file is too large")

// ErrNotRegular is returned for a directory, device, named pipe or socket
// where a file was to be read. Nothing of it was opened.
var ErrNotRegular = errors.New("not a regular file")

// ReadFile returns the content of the regular file that name leads to, of at
// most limit bytes. It neither waits for anybody nor touches a device.
func (t *Tree) ReadFile(name string, limit int64) ([]byte, error) {
	data, err := t.readFile(name, limit)
	if err != nil {
		return nil, t.fail("read", name, err)
	}
	return data, nil
}

func (t *Tree) readFile(name string, limit int64) ([]byte, error) {
	f, err := t.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%w: %d bytes where at most %d are expected", ErrTooLarge, info.Size(), limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, err
	}
	// The file may have grown since, or its file system lies about sizes.
	if n, _ := f.Read(make([]byte, 1)); n > 0 {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return data, nil
}

// OpenFile opens the regular file that name leads to, to be read by somebody who
// is handed the descriptor and no path.
func (t *Tree) OpenFile(name string) (*os.File, error) {
	f, err := t.openFile(name)
	if err != nil {
		return nil, t.fail("open", name, err)
	}
	return f, nil
}

func (t *Tree) openFile(name string) (*os.File, error) {
	handle, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	info, err := handle.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w but %s", ErrNotRegular, kind(info.Mode()))
	}
	// The handle is of a regular file for good; O_NONBLOCK is for leases.
	return pathrs.Reopen(handle, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
}

// kind names the type of a file.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return mode.Type().String()
}

// Stat describes what name leads to.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	f, err := t.open(name)
	if err != nil {
		return nil, t.fail("stat", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, t.fail("stat", name, err)
	}
	return info, nil
}

// Lstat describes the entry that name stands for, and a link itself. A name
// that stands for no entry ("/", "a/..", "a/") is described as Stat does.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) {
	if _, _, err := split(name); err != nil {
		return t.Stat(name)
	}
	f, err := t.openEntry(name)
	if err != nil {
		return nil, t.fail("stat", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, t.fail("stat", name, err)
	}
	return info, nil
}

// Readlink returns where the link name points, as it is written there. It is
// the tree's word: nobody may open it on the host.
func (t *Tree) Readlink(name string) (string, error) {
	f, err := t.openEntry(name)
	if err != nil {
		return "", t.fail("read link", name, err)
	}
	defer f.Close()
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buf)
	if errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("not a link: %w", unix.EINVAL) // what readlinkat says of an open non-link
	}
	if err != nil {
		return "", t.fail("read link", name, err)
	}
	return string(buf[:n]), nil
}

// ReadDir returns the entries of the directory that name leads to, sorted by
// name. They describe the time of the call; nothing is looked up later.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	dir, names, err := t.names(name)
	if err != nil {
		return nil, t.fail("list", name, err)
	}
	defer dir.Close()
	entries := make([]fs.DirEntry, 0, len(names))
	for _, base := range names {
		// Not by os.File.ReadDir: its entries, and in some releases of Go
		// itself, look a file up by the path of its directory.
		info, err := lstatAt(dir, base)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, t.fail("list", path.Join(name, base), err)
		}
		entries = append(entries, fs.FileInfoToDirEntry(info))
	}
	return entries, nil
}

// Glob returns the names in the directory dir that match pattern, as
// path.Match has it, sorted. A directory that is not there holds none.
func (t *Tree) Glob(dir, pattern string) ([]string, error) {
	if _, err := path.Match(pattern, ""); err != nil || strings.Contains(pattern, "/") {
		return nil, t.fail("list", path.Join(dir, pattern), path.ErrBadPattern)
	}
	f, names, err := t.names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, t.fail("list", dir, err)
	}
	defer f.Close()
	return slices.DeleteFunc(names, func(name string) bool {
		match, err := path.Match(pattern, name)
		return err != nil || !match
	}), nil
}

// names opens the directory that name leads to and returns what is in it.
func (t *Tree) names(name string) (*os.File, []string, error) {
	handle, err := t.open(name)
	if err != nil {
		return nil, nil, err
	}
	defer handle.Close()
	dir, err := openAt(handle, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, nil, err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	slices.Sort(names)
	return dir, names, nil
}

// lstatAt describes one entry of dir.
func lstatAt(dir *os.File, base string) (fs.FileInfo, error) {
	f, err := openAt(dir, base, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}
