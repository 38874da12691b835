package transfer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// top is the name of what is copied itself in the stream.
const top = "."

// Pack writes what name leads to, a file or a tree, as a tar stream. Links are
// packed as links; only where name itself ends in one, in "link/." say, it is
// followed. skipped is told of what is not copied: devices, sockets and pipes.
// Names are quoted: a machine gives its files any.
func Pack(to io.Writer, name string, skipped func(what string)) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	out := tar.NewWriter(to)
	p := packer{out: out, skipped: skipped, seen: map[inode]string{}}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return err
		}
		err = errors.Join(p.walk(root, top), root.Close())
		if err != nil {
			return err
		}
		return out.Close()
	}
	parent, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	if err := errors.Join(p.entry(parent, filepath.Base(name), top), parent.Close()); err != nil {
		return err
	}
	return out.Close()
}

type inode struct{ dev, ino uint64 }

func inodeOf(info fs.FileInfo) inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}
	}
	return inode{st.Dev, st.Ino}
}

type packer struct {
	out     *tar.Writer
	skipped func(what string)
	seen    map[inode]string // files with several names, under their first
}

// walk packs a directory and what is in it.
func (p *packer) walk(root *os.Root, name string) error {
	if err := p.entry(root, name, name); err != nil {
		return err
	}
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		if a.Name() < b.Name() {
			return -1
		}
		return 1
	})
	for _, e := range entries {
		child := path.Join(name, e.Name())
		if e.IsDir() {
			err = p.walk(root, child)
		} else {
			err = p.entry(root, child, child)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went while we were looking
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry packs one entry under a name of the stream.
func (p *packer) entry(root *os.Root, name, as string) error {
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return p.file(root, name, as)
	case mode.IsDir():
		return p.directory(root, name, as)
	case mode&fs.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			return err
		}
		h, err := header(info, target, as)
		if err != nil {
			return err
		}
		return p.out.WriteHeader(h)
	default:
		p.skipped(fmt.Sprintf("%q is %s", as, kind(mode)))
		return nil
	}
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	}
	return "a device"
}

func (p *packer) directory(root *os.Root, name, as string) error {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h, err := header(info, "", as)
	if err != nil {
		return err
	}
	if err := p.attributes(f, h); err != nil {
		return err
	}
	return p.out.WriteHeader(h)
}

func (p *packer) file(root *os.Root, name, as string) error {
	// A pipe that took the file's place must not hold us up.
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		p.skipped(fmt.Sprintf("%q is changing", as))
		return nil
	}
	h, err := header(info, "", as)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		id := inodeOf(info)
		if first, ok := p.seen[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.out.WriteHeader(h)
		}
		p.seen[id] = as
	}
	if err := p.attributes(f, h); err != nil {
		return err
	}
	if err := p.out.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyN(p.out, f, h.Size)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%q became shorter while it was read: %d of %d bytes", as, n, h.Size)
	}
	return err
}

func header(info fs.FileInfo, target, as string) (*tar.Header, error) {
	h, err := tar.FileInfoHeader(nameless{info}, target)
	if err != nil {
		return nil, err
	}
	h.Name = as
	h.Format = tar.FormatPAX
	h.AccessTime, h.ChangeTime = h.ModTime, h.ModTime
	return h, nil
}

// nameless is a file whose owners have numbers and no names: numbers alone mean
// the same at both ends, and names would be looked up in the tree of a machine,
// whose files are there to be packed and not to be believed.
type nameless struct{ fs.FileInfo }

// Uname is tar.FileInfoNames'.
func (nameless) Uname() (string, error) { return "", nil }

// Gname is tar.FileInfoNames'.
func (nameless) Gname() (string, error) { return "", nil }
