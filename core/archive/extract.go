package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// ExtractOptions say how much of an archive is taken.
type ExtractOptions struct {
	// MaxBytes and MaxFiles end the reading of what grows without end: bytes of
	// the stream, zeros too, bytes of the files in it, holes too, which take
	// nothing in the stream, and entries. Zero stands for the defaults.
	MaxBytes, MaxFiles int64
	// Progress is told how many entries have been read; nil for nobody.
	Progress func(files uint64)
}

// Extract fills the empty directory root, which rootfs.MakeRoot made, with what
// a tar stream holds. Nothing is on disk for good before rootfs.Publish.
//
// The stream is ErrBad if it is cut short or goes on after its end, if a name is
// absolute or holds "..", is there twice or leads through anything but a
// directory, if a link leads to what was not in it before, for devices that
// no image holds, and when there is no end to it. Directories on the way to a name
// may be missing. Owners are numbers; their names are not looked at.
func Extract(ctx context.Context, r io.Reader, root string, o ExtractOptions) (err error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = DefaultMaxFiles
	}
	if o.Progress == nil {
		o.Progress = func(uint64) {}
	}
	fill, err := rootfs.Fill(ctx, root)
	if err != nil {
		return err
	}
	defer fill.Close()
	end := NewEnding(&bounded{ctx: ctx, from: r, left: o.MaxBytes})
	u := unpacker{ExtractOptions: o, fill: fill, left: o.MaxBytes}
	if err := u.all(tar.NewReader(end)); err != nil {
		return err
	}
	if err := drain(end); err != nil {
		return err
	}
	return fill.Finish()
}

// bounded is a stream that ends, at the latest after so many bytes, with an
// error that says so.
type bounded struct {
	ctx  context.Context //nolint:containedctx // Read takes none
	from io.Reader
	left int64
}

// Read is io.Reader's.
func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &badError{ErrTooLarge}
	}
	if err != nil && !errors.Is(err, io.EOF) && b.ctx.Err() == nil {
		err = &badError{err}
	}
	return n, err
}

// padding is how many zeros may come after the end: records of tar are 10 KiB by
// custom, and whoever pads to a megabyte is still understood.
const padding = 1 << 20

// drain reads what pads a stream. Only then a decompressor has checked all.
func drain(end *Ending) error {
	buf := make([]byte, 32<<10)
	for rest := 0; ; {
		n, err := end.Read(buf)
		if rest += n; rest > padding || len(bytes.TrimRight(buf[:n], "\x00")) > 0 {
			return bad("it goes on after its end")
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if !end.Ended() {
		return bad("it is cut short: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

type unpacker struct {
	ExtractOptions
	fill *rootfs.Filler
	left int64 // bytes that files may still have
}

func (u *unpacker) all(in *tar.Reader) error {
	for files := int64(0); ; files++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			u.Progress(uint64(files))
			return nil
		}
		if err != nil {
			return reading(err)
		}
		if files == u.MaxFiles {
			return bad("it holds more than %d files", u.MaxFiles)
		}
		if files%1024 == 0 {
			u.Progress(uint64(files))
		}
		if err := u.one(in, h); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// reading tells an archive that is bad from one that could not be read.
func reading(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &badError{err}
	}
	return err
}

func (u *unpacker) one(in *tar.Reader, h *tar.Header) error {
	name, err := local(h.Name)
	if err != nil {
		return err
	}
	a := attributes(h)
	switch h.Typeflag {
	case tar.TypeXGlobalHeader: // says nothing of an entry that is asked for here
		return nil
	case tar.TypeReg, tar.TypeGNUSparse:
		if h.Size > u.left {
			return &badError{ErrTooLarge}
		}
		u.left -= h.Size
		err = u.fill.File(name, a, h.Size, in)
	case tar.TypeDir:
		err = u.fill.Directory(name, a)
	case tar.TypeSymlink:
		err = u.fill.Symlink(name, h.Linkname, a)
	case tar.TypeLink:
		var first string
		if first, err = local(h.Linkname); err == nil {
			err = u.fill.Link(name, first)
		}
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		err = u.special(name, h, a)
	default:
		err = bad("it is of a kind that no image holds (%q)", h.Typeflag)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return bad("it is there twice")
	case errors.Is(err, fs.ErrInvalid):
		return &badError{err}
	}
	return reading(err)
}

func (u *unpacker) special(name string, h *tar.Header, a rootfs.Attributes) error {
	kind := map[byte]rootfs.Kind{tar.TypeFifo: rootfs.Pipe, tar.TypeChar: rootfs.CharDevice, tar.TypeBlock: rootfs.BlockDevice}[h.Typeflag]
	d := device{kind, uint32(h.Devmajor), uint32(h.Devminor)}
	if err := checkDevice(name, d); err != nil {
		return &badError{err}
	}
	return u.fill.Special(name, kind, d.major, d.minor, a)
}

// local is a name of an archive as one in the tree: "." or without dots.
func local(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return "", bad("%q is absolute", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", bad("%q leads out", name)
		}
	}
	return path.Clean(name), nil
}

func attributes(h *tar.Header) rootfs.Attributes {
	a := rootfs.Attributes{Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid, ModTime: h.ModTime}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrPrefix); ok {
			if a.Xattrs == nil {
				a.Xattrs = map[string]string{}
			}
			a.Xattrs[name] = value
		}
	}
	return a
}
