package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Filler makes the entries of a new tree, in an empty directory that nobody but
// the caller can come near. Whoever names the entries is not trusted: every
// name leads through directories that the Filler made itself, no entry is made
// twice or changed by another, and so nothing outside can be reached, through
// no link. Directories that are missing on the way are made, with mode 0755.
//
// Files are written by several goroutines, though a Filler's methods are for
// one. Nothing is brought to disk: Publish does that, for all of them at once.
type Filler struct {
	chain []*step // the directory that the last entry was in, and those above
	made  map[string]made
	dirs  []dressing

	ctx     context.Context //nolint:containedctx // that of the writers, which a Filler starts and ends
	fail    context.CancelCauseFunc
	jobs    chan func() error
	writers sync.WaitGroup
	pending sync.WaitGroup // files that are still to be written
	room    chan []byte    // buffers that hold none of them
	buffers int            // that there are
}

// made is what is known of an entry that was made.
type made struct {
	kind Kind
	// asked tells a directory that was asked for from one that was in the way.
	asked bool
}

// dressing is what a directory gets when there is nothing more to come in it:
// its time would change, and its mode or ACL be in the way.
type dressing struct {
	name string
	Attributes
}

// step is a directory that is open because entries are made in it.
type step struct {
	name  string // the whole
	dir   *os.File
	users atomic.Int32 // being the last one or above it, and files to be written in it
}

func newStep(name string, dir *os.File) *step {
	s := &step{name: name, dir: dir}
	s.users.Store(1)
	return s
}

// release closes the directory when nobody uses it any more.
func (s *step) release() {
	if s.users.Add(-1) == 0 {
		s.dir.Close()
	}
}

// Fill begins to fill the directory at the absolute path root. It must be
// empty, and its owner, mode and time are what they are until it is named as
// ".". Close must be called, whatever happens.
func Fill(ctx context.Context, root string) (*Filler, error) {
	dir, err := openDirectory(root)
	if err != nil {
		return nil, fmt.Errorf("fill %q: %w", root, err)
	}
	names, err := dir.Readdirnames(1)
	if !errors.Is(err, io.EOF) || len(names) > 0 {
		if err == nil {
			err = unix.ENOTEMPTY
		}
		return nil, errors.Join(fmt.Errorf("fill %q: %w", root, err), dir.Close())
	}
	f := &Filler{
		chain: []*step{newStep(".", dir)},
		made:  map[string]made{".": {kind: Directory}},
		jobs:  make(chan func() error, fillBuffers),
		room:  make(chan []byte, fillBuffers),
	}
	f.ctx, f.fail = context.WithCancelCause(ctx)
	for range active() {
		f.writers.Go(f.write)
	}
	return f, nil
}

// write does what there is to do, or after a failure nothing.
func (f *Filler) write() {
	for job := range f.jobs {
		if err := job(); err != nil {
			f.fail(err)
		}
		f.pending.Done()
	}
}

// settle waits until what was begun is done, and says what failed.
func (f *Filler) settle() error {
	f.pending.Wait()
	return context.Cause(f.ctx)
}

// Close ends what is still being written, and releases the directory.
func (f *Filler) Close() {
	f.fail(context.Canceled)
	close(f.jobs)
	f.writers.Wait()
	for len(f.chain) > 0 {
		f.leave()
	}
}

// Finish waits for all files to be written and gives the directories what they
// are to have. There is nothing to come after it but Close.
func (f *Filler) Finish() error {
	if err := f.settle(); err != nil {
		return err
	}
	for _, d := range f.dirs {
		at, err := f.enter(d.name)
		if err == nil {
			err = dress(int(at.dir.Fd()), d.Attributes)
		}
		if err == nil {
			err = unix.UtimesNanoAt(int(at.dir.Fd()), ".", d.times(), 0)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", d.name, err)
		}
	}
	return nil
}

// Has tells which kind of entry was made under a name, 0 if none.
func (f *Filler) Has(name string) Kind { return f.made[name].kind }

// enter opens the directory name, which is "." or plain, and makes what is
// missing on the way.
func (f *Filler) enter(name string) (*step, error) {
	for {
		last := f.chain[len(f.chain)-1]
		if last.name == name {
			return last, nil
		}
		if last.name == "." || strings.HasPrefix(name, last.name+"/") {
			break
		}
		f.leave()
	}
	last := f.chain[len(f.chain)-1]
	rest := name
	if last.name != "." {
		rest = name[len(last.name)+1:]
	}
	for part := range strings.SplitSeq(rest, "/") {
		next, err := f.down(last, part)
		if err != nil {
			return nil, err
		}
		f.chain = append(f.chain, next)
		last = next
	}
	return last, nil
}

func (f *Filler) down(from *step, part string) (*step, error) {
	if len(f.chain) > deepest {
		return nil, fmt.Errorf("there are more than %d directories below one another", deepest)
	}
	name := part
	if from.name != "." {
		name = from.name + "/" + part
	}
	switch f.made[name].kind {
	case Directory:
	case 0:
		if err := f.mkdir(from, part, Attributes{Mode: 0o755}, false); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%q is no directory: %w", name, fs.ErrInvalid)
	}
	dir, err := openAt(from.dir, part, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return newStep(name, dir), nil
}

// leave goes up from the innermost directory.
func (f *Filler) leave() {
	last := f.chain[len(f.chain)-1]
	f.chain = f.chain[:len(f.chain)-1]
	last.release()
}

// parent opens the directory that an entry is to be made in, and notes the
// entry.
func (f *Filler) parent(name string, kind Kind) (dir *step, base string, err error) {
	if err := checkPlain(name); err != nil {
		return nil, "", err
	}
	if f.made[name].kind != 0 {
		return nil, "", fs.ErrExist
	}
	dir, err = f.enter(path.Dir(name))
	if err != nil {
		return nil, "", err
	}
	f.made[name] = made{kind: kind, asked: true}
	return dir, path.Base(name), nil
}

// Directory makes a directory; "." is the root, which gets these attributes.
func (f *Filler) Directory(name string, a Attributes) error {
	known := f.made[name]
	switch {
	case known.kind == Directory && !known.asked:
		f.made[name] = made{kind: Directory, asked: true}
		f.dirs = append(f.dirs, dressing{name, a}) // after what it had for being in the way
		return nil
	case known.kind != 0:
		return fs.ErrExist
	}
	if err := checkPlain(name); err != nil {
		return err
	}
	dir, err := f.enter(path.Dir(name))
	if err != nil {
		return err
	}
	return f.mkdir(dir, path.Base(name), a, true)
}

func (f *Filler) mkdir(parent *step, base string, a Attributes, asked bool) error {
	name := path.Join(parent.name, base)
	if err := unix.Mkdirat(int(parent.dir.Fd()), base, 0o700); err != nil {
		return err
	}
	f.made[name] = made{kind: Directory, asked: asked}
	f.dirs = append(f.dirs, dressing{name, a})
	return nil
}

// Symlink makes a link to target, which is written as it is.
func (f *Filler) Symlink(name, target string, a Attributes) error {
	if err := checkName(target); err != nil || target == "" {
		return fmt.Errorf("%q is no target of a link: %w", target, fs.ErrInvalid)
	}
	dir, base, err := f.parent(name, Symlink)
	if err != nil {
		return err
	}
	to := int(dir.dir.Fd())
	if err := unix.Symlinkat(target, to, base); err != nil {
		return err
	}
	return f.give(to, base, a)
}

// Special makes a pipe or a device.
func (f *Filler) Special(name string, kind Kind, major, minor uint32, a Attributes) error {
	if kind.special() == 0 {
		return fmt.Errorf("is neither pipe nor device: %w", fs.ErrInvalid)
	}
	dir, base, err := f.parent(name, kind)
	if err != nil {
		return err
	}
	to := int(dir.dir.Fd())
	if err := unix.Mknodat(to, base, kind.special()|0o600, int(unix.Mkdev(major, minor))); err != nil {
		return err
	}
	if err := unix.Fchownat(to, base, a.UID, a.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Fchmodat(to, base, a.Mode&0o7777, 0); err != nil { // it is what was just made
		return err
	}
	return unix.UtimesNanoAt(to, base, a.times(), unix.AT_SYMLINK_NOFOLLOW)
}

func (f *Filler) give(to int, base string, a Attributes) error {
	if err := unix.Fchownat(to, base, a.UID, a.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return unix.UtimesNanoAt(to, base, a.times(), unix.AT_SYMLINK_NOFOLLOW)
}

// Link makes name another name of what was made as first.
func (f *Filler) Link(name, first string) error {
	kind := f.made[first].kind
	if kind == 0 || kind == Directory {
		return fmt.Errorf("%q is no file that was made: %w", first, fs.ErrInvalid)
	}
	if err := f.settle(); err != nil { // first may be among what is to be written
		return err
	}
	origin, err := f.enter(path.Dir(first))
	if err != nil {
		return err
	}
	from, err := openAt(origin.dir, ".", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer from.Close()
	dir, base, err := f.parent(name, kind)
	if err != nil {
		return err
	}
	return unix.Linkat(int(from.Fd()), path.Base(first), int(dir.dir.Fd()), base, 0)
}
