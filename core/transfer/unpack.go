package transfer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/archive"
)

// ErrExists says that a copy would overwrite something.
var ErrExists = errors.New("is there already")

// Options say how a stream is unpacked.
type Options struct {
	// Base is the name of what is copied, for a destination that is a directory.
	Base string
	// Force replaces files that are there; directories are merged.
	Force bool
	// Parents makes the directories above the destination that are missing.
	Parents bool
	// Into unpacks what the stream holds into the destination, which is a
	// directory or made one, rather than as the destination.
	Into bool
	// Keep keeps owners as they are numbered in the stream, setuid and setgid
	// bits, capabilities and access control lists; else everything is UID's
	// and GID's, and has none.
	Keep     bool
	UID, GID int
	// Shift is added to every owner: that of a tree whose owners on disk are
	// those of a range of users.
	Shift int
	// Skipped is told of what could not be kept.
	Skipped func(what string) `json:"-"`
}

// owner is whom an entry is to belong to.
func (o Options) owner(h *tar.Header) (uid, gid int) {
	if o.Keep {
		return h.Uid + o.Shift, h.Gid + o.Shift
	}
	return o.UID + o.Shift, o.GID + o.Shift
}

// Unpack makes what a stream holds at the destination: under that very name, or
// in it when it is a directory. What it had made is removed when it fails,
// unless it was merged into something.
func Unpack(ctx context.Context, from io.Reader, destination string, o Options) error {
	if err := o.target(&destination); err != nil {
		return err
	}
	parent, err := os.OpenRoot(filepath.Dir(destination))
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	u := unpacker{Options: o, parent: parent, base: filepath.Base(destination), files: map[inode]bool{}, ctx: ctx, holes: archive.DefaultMaxBytes}
	end := archive.NewEnding(from) // the reader takes a stream that was cut off between two entries for whole
	if err = u.all(tar.NewReader(end)); err == nil && !end.Ended() {
		err = fmt.Errorf("reading what comes: %w", io.ErrUnexpectedEOF)
	}
	if u.root != nil {
		err = errors.Join(err, u.root.Close())
	}
	if err != nil && u.made {
		err = errors.Join(err, parent.RemoveAll(u.base))
	}
	return err
}

// target settles under which name the copy is made.
func (o Options) target(destination *string) error {
	info, err := os.Stat(*destination)
	switch {
	case err == nil && info.IsDir() && !o.Into:
		if o.Base == "" || o.Base == "." || o.Base == ".." || strings.ContainsRune(o.Base, '/') {
			return fmt.Errorf("%q is not the name of a file", o.Base)
		}
		*destination = filepath.Join(*destination, o.Base)
	case err == nil && o.Into && !info.IsDir():
		return fmt.Errorf("%s is not a directory", *destination)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil && strings.HasSuffix(*destination, "/") && !o.Into:
		*destination = filepath.Join(*destination, o.Base)
	}
	if o.Parents {
		return os.MkdirAll(filepath.Dir(*destination), 0o755)
	}
	return nil
}

type unpacker struct {
	Options
	parent *os.Root
	base   string   // in parent
	root   *os.Root // what is unpacked, once it is a directory
	made   bool     // it was not there before
	came   bool     // what is copied itself has come
	// files are those that this stream made. No other file gets another name,
	// under which it could be read or kept.
	files map[inode]bool
	ctx   context.Context //nolint:containedctx // that of one Unpack
	holes int64           // bytes that files may still have of which not all come
	times []dirTime
	lists int // bytes in times
}

type dirTime struct {
	name   string
	mode   fs.FileMode
	at     time.Time
	access string // its default access control list: what is made in it would get it
}

func (u *unpacker) all(in *tar.Reader) error {
	if u.Into {
		if err := u.openTop(nil); err != nil {
			return err
		}
	}
	for count := 0; ; count++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			if count == 0 && !u.Into {
				return errors.New("nothing came")
			}
			return u.settle()
		}
		if err != nil {
			return fmt.Errorf("reading what comes: %w", err)
		}
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
		if err := u.one(in, h); err != nil {
			return err
		}
	}
}

// settle gives directories their modes, default lists and times, which would change or be in
// the way while they are filled: the innermost first.
func (u *unpacker) settle() error {
	for i := len(u.times) - 1; i >= 0; i-- {
		d := u.times[i]
		// Through a descriptor: by name, older kernels need a /proc.
		f, err := u.root.OpenFile(d.name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		err = f.Chmod(d.mode)
		if d.access != "" {
			u.setAttribute(f, d.name, defaultList, d.access)
		}
		if err := errors.Join(err, f.Close(), u.root.Chtimes(d.name, d.at, d.at)); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) one(in *tar.Reader, h *tar.Header) error {
	name := path.Clean(strings.TrimPrefix(h.Name, "/"))
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%q leads out of what is copied", h.Name)
	}
	if name == top {
		switch {
		case u.Into:
			return nil
		case u.came:
			return errors.New("what is copied came twice")
		}
		u.came = true
		if h.Typeflag == tar.TypeDir {
			return u.openTop(h)
		}
		return u.entry(u.parent, in, h, u.base)
	}
	if u.root == nil {
		return fmt.Errorf("%q came before the directory that it is in", h.Name)
	}
	return u.entry(u.root, in, h, name)
}

// openTop makes the directory that is copied, or takes the one that is there.
func (u *unpacker) openTop(h *tar.Header) error {
	err := u.parent.Mkdir(u.base, 0o700)
	switch {
	case err == nil:
		u.made = true
	case !errors.Is(err, fs.ErrExist):
		return err
	case !u.Force && !u.Into:
		return fmt.Errorf("%q %w", u.base, ErrExists)
	}
	if u.root, err = u.parent.OpenRoot(u.base); err != nil || (h == nil && !u.made) {
		return err
	}
	if h == nil { // made for a stream that is unpacked into it
		h = &tar.Header{Mode: 0o755, ModTime: time.Now(), Uid: u.UID, Gid: u.GID}
	}
	return u.directory(u.root, h, top)
}

func (u *unpacker) directory(root *os.Root, h *tar.Header, name string) error {
	d := dirTime{name: name, mode: u.mode(h), at: h.ModTime}
	if list := h.PAXRecords[attributeRecord+defaultList]; u.Keep && list != "" {
		if u.lists += len(list); u.lists > mostLists {
			return fmt.Errorf("%q: more access control lists come than are kept in memory", name)
		}
		d.access = list
	}
	u.times = append(u.times, d)
	if err := u.own(root, h, name); err != nil {
		return err
	}
	if !u.hasAttributes(h) {
		return nil
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	u.setAttributes(f, h)
	return f.Close()
}

// mostLists bounds what a stream has us remember until directories are filled.
const mostLists = 16 << 20

func (u *unpacker) mode(h *tar.Header) fs.FileMode {
	mode := h.FileInfo().Mode()
	keep := fs.ModePerm
	if u.Keep {
		keep |= fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	}
	return mode & keep
}

func (u *unpacker) own(root *os.Root, h *tar.Header, name string) error {
	uid, gid := u.owner(h)
	return root.Lchown(name, uid, gid)
}

// entry makes anything but the top directory.
func (u *unpacker) entry(root *os.Root, in *tar.Reader, h *tar.Header, name string) error {
	if h.Typeflag == tar.TypeDir {
		err := root.Mkdir(name, 0o700)
		if errors.Is(err, fs.ErrExist) {
			// Not through a link: it must be a directory itself.
			if info, lerr := root.Lstat(name); lerr == nil && info.IsDir() && (u.Force || u.Into) {
				return u.directory(root, h, name)
			}
			return fmt.Errorf("%q %w", name, ErrExists)
		}
		if err != nil {
			return err
		}
		return u.directory(root, h, name)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if err := u.holed(h, name); err != nil {
			return err
		}
		return u.put(root, name, func(as string) error { return u.file(root, in, h, as) })
	case tar.TypeSymlink:
		return u.put(root, name, func(as string) error {
			if err := root.Symlink(h.Linkname, as); err != nil {
				return err
			}
			return u.own(root, h, as)
		})
	case tar.TypeLink:
		first := path.Clean(h.Linkname)
		// Never a link to a link: what it leads to would get another name.
		if info, err := root.Lstat(first); err != nil || !info.Mode().IsRegular() || !u.files[inodeOf(info)] {
			return fmt.Errorf("%q is said to be %q, which is no file that was copied", name, h.Linkname)
		}
		return u.put(root, name, func(as string) error { return root.Link(first, as) })
	}
	return fmt.Errorf("%q is of a kind that is not copied (%q)", name, h.Typeflag)
}

func (u *unpacker) file(root *os.Root, in *tar.Reader, h *tar.Header, name string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err == nil {
		u.files[inodeOf(info)] = true
	}
	uid, gid := u.owner(h)
	err = writeSparse(u.ctx, f, in, h.Size)
	if err == nil {
		err = f.Chown(uid, gid) // before the mode: it takes setuid bits away
	}
	if err == nil {
		err = f.Chmod(u.mode(h))
	}
	if err == nil {
		u.setAttributes(f, h) // last: writing and giving away take capabilities away
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, root.Remove(name))
	}
	return root.Chtimes(name, h.ModTime, h.ModTime)
}
