package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// WriteOptions say how a tree is written.
type WriteOptions struct {
	// Epoch is the time of every entry that is newer; zero leaves times.
	Epoch time.Time
	// Leave names directories whose content is left out.
	Leave []string
	// Skip names entries that are not written, and must have nothing below them;
	// nil for none.
	Skip func(name string) bool
	// Xattr may change an extended attribute, or leave it out, for whoever
	// wants it in another form; nil leaves all as they are.
	Xattr func(name, value string) (as string, keep bool)
	// GNULinks has GNU's form for links whose target is too long for ustar's or
	// not in ASCII. It is for sqfstar, which up to 4.5.1 takes the slashes and dots
	// from the beginning of those in PAX's form.
	GNULinks bool
	// Progress is told how many entries have been written; nil for nobody.
	Progress func(files uint64)
}

// Write writes the tree as a PAX tar, "./" first, a directory before what is in
// it and that sorted by the bytes of the names. Owners are numbers without
// names, further names of a file are links to the first, extended attributes
// and ACLs are under SCHILY.xattr., holes are zeros, sockets are left out.
// Times of access, numbers of inodes and the order of directories on disk leave
// no trace: the same tree gives the same bytes.
func Write(ctx context.Context, w io.Writer, t *rootfs.Tree, o WriteOptions) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	p := &packer{WriteOptions: o, out: tar.NewWriter(buffered), buffer: make([]byte, 256<<10)}
	if p.Progress == nil {
		p.Progress = func(uint64) {}
	}
	if err := t.Visit(ctx, o.Leave, p.entry); err != nil {
		return err
	}
	if err := p.out.Close(); err != nil {
		return err
	}
	p.Progress(p.files)
	return buffered.Flush()
}

type packer struct {
	WriteOptions
	out    *tar.Writer
	buffer []byte
	files  uint64
	bytes  int64
}

var typeflags = map[rootfs.Kind]byte{
	rootfs.Directory: tar.TypeDir, rootfs.File: tar.TypeReg, rootfs.Symlink: tar.TypeSymlink,
	rootfs.Pipe: tar.TypeFifo, rootfs.CharDevice: tar.TypeChar, rootfs.BlockDevice: tar.TypeBlock,
}

func (p *packer) entry(e rootfs.Entry) error {
	if p.Skip != nil && p.Skip(e.Name) {
		return nil
	}
	h := &tar.Header{
		Format: tar.FormatPAX, Typeflag: typeflags[e.Kind], Name: "./" + e.Name,
		Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, ModTime: p.time(e.ModTime),
	}
	switch e.Kind {
	case rootfs.Directory:
		h.Name += "/"
		if e.Name == "." {
			h.Name = "./"
		}
	case rootfs.Symlink:
		h.Linkname = e.Target
		if p.GNULinks && needsPAX(e.Target) {
			h.Format = tar.FormatGNU
		}
	case rootfs.File:
		h.Size = e.Size
	default:
		if err := checkDevice(e.Name, device{e.Kind, e.Major, e.Minor}); err != nil {
			return err
		}
		h.Devmajor, h.Devminor = int64(e.Major), int64(e.Minor)
	}
	if e.First != "" {
		h.Typeflag, h.Linkname, h.Size, h.Devmajor, h.Devminor = tar.TypeLink, "./"+e.First, 0, 0, 0
	}
	if len(e.Xattrs) > 0 {
		h.PAXRecords = make(map[string]string, len(e.Xattrs))
		for name, value := range e.Xattrs {
			keep := true
			if p.Xattr != nil {
				value, keep = p.Xattr(name, value)
			}
			if keep {
				h.PAXRecords[xattrPrefix+name] = value
			}
		}
	}
	// What is nearly all hole would be written, and read, for hours.
	if p.bytes += h.Size; p.bytes > DefaultMaxBytes {
		return fmt.Errorf("%q has %d bytes, and with it the tree more than the %d that an archive may hold", e.Name, h.Size, int64(DefaultMaxBytes))
	}
	if err := p.out.WriteHeader(h); err != nil {
		return fmt.Errorf("%q: %w", e.Name, err)
	}
	if p.files++; p.files%1024 == 0 {
		p.Progress(p.files)
	}
	if h.Size == 0 {
		return nil
	}
	// Behind a struct: with the writer's own ReadFrom there is no use for the buffer.
	if _, err := io.CopyBuffer(struct{ io.Writer }{p.out}, e.Content, p.buffer); err != nil {
		return fmt.Errorf("%q: %w", e.Name, err)
	}
	return nil
}

func (p *packer) time(at time.Time) time.Time {
	if !p.Epoch.IsZero() && at.After(p.Epoch) {
		return p.Epoch
	}
	return at
}

// needsPAX tells whether a target has no place in the header that all forms of
// tar have.
func needsPAX(target string) bool {
	const room = 100
	return len(target) > room || strings.ContainsFunc(target, func(r rune) bool { return r >= utf8.RuneSelf })
}
