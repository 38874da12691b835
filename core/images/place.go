package images

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/customize"
	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
)

// What is beside an image, after its name.
const (
	suffixManifest = ".manifest.json"
	suffixSBOM     = ".spdx.json"
	suffixSums     = ".SHA256SUMS"
	suffixLock     = ".lock.json"
	suffixLog      = ".log"
)

// place is where an image goes, and the hidden directory there in which it
// grows. Whoever makes it holds a lock on the directory: one that nobody holds
// is of a run that was killed.
type place struct {
	name    string
	dir     string // in which the image is to be
	only    string // the name of the only file, when that was given
	formats []string
	force   bool
	signed  bool

	hidden  string
	lock    *os.File
	id      rootfs.Identity
	madeDir bool
	kept    bool // the log was put beside the image
}

func newPlace(w Wanted) (*place, error) {
	p := &place{name: w.Spec.Name, formats: w.Image.Formats, force: w.Force, signed: w.Image.Sign != "", dir: w.Out}
	bad := func(problem, hint string) error {
		return spec.Invalid{{Field: "out", Value: w.Out, Problem: problem, Hint: hint}}
	}
	if len(p.formats) == 0 {
		return nil, spec.Invalid{{Field: "image.format", Problem: "no format was given", Hint: "give one, such as --format tar.zst"}}
	}
	if !w.Into {
		if len(p.formats) > 1 {
			return nil, bad("is one file, and there are several formats", "name a directory: end it with /")
		}
		p.dir, p.only = filepath.Dir(w.Out), filepath.Base(w.Out)
	}
	above := p.dir
	if w.Into {
		above = filepath.Dir(p.dir)
	}
	if info, err := os.Stat(above); err != nil || !info.IsDir() {
		return nil, bad("is in "+above+", which is no directory", "make it: mkdir -p "+above)
	}
	if info, err := os.Stat(p.dir); err == nil && !info.IsDir() {
		return nil, bad("is no directory", "name a directory, or give one --format")
	}
	p.hidden = filepath.Join(p.dir, p.prefix()+rand.Text())
	return p, p.vacant()
}

// file is the name of the image in a format.
func (p *place) file(format string) string {
	switch {
	case p.only != "":
		return p.only
	case format == string(image.Directory):
		return p.name
	}
	return p.name + "." + format
}

// files are all that will be there.
func (p *place) files() []string {
	var all []string
	for _, f := range p.formats {
		all = append(all, p.file(f))
		if image.Summed(image.Format(f)) {
			all = append(all, p.file(f)+image.SuffixSum)
		}
	}
	if p.signed {
		all = append(all, p.signatures()...)
	}
	for _, suffix := range []string{suffixManifest, suffixSBOM, suffixSums, suffixLock, suffixLog} {
		all = append(all, p.name+suffix)
	}
	return all
}

// signatures are those of the images.
func (p *place) signatures() []string {
	var all []string
	for _, f := range p.formats {
		if image.Summed(image.Format(f)) {
			all = append(all, p.file(f)+image.SuffixSignature)
		}
	}
	return all
}

// stale are what an image of before may have had and this one has not: an old
// signature would have the new sum refused.
func (p *place) stale() []string {
	if p.signed {
		return nil
	}
	return p.signatures()
}

// vacant says what is in the way. A log is written anew.
func (p *place) vacant() error {
	if p.force {
		return nil
	}
	for _, f := range append(p.files(), p.stale()...) {
		path := filepath.Join(p.dir, f)
		if _, err := os.Lstat(path); err == nil && f != p.name+suffixLog {
			return &ExistsError{path}
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (p *place) root() string  { return filepath.Join(p.hidden, "root") }
func (p *place) work() string  { return filepath.Join(p.hidden, "work") }
func (p *place) out() string   { return filepath.Join(p.hidden, "out") }
func (p *place) logs() string  { return filepath.Join(p.hidden, "logs") }
func (p *place) state() string { return filepath.Join(p.hidden, "state") }
func (p *place) old() string   { return filepath.Join(p.hidden, "old") }

func (p *place) prefix() string { return ".nspawn-build-image-" + p.name + "-" }

// begin sweeps what runs that were killed left, and makes the hidden directory.
func (p *place) begin(ctx context.Context) error {
	if err := os.Mkdir(p.dir, 0o755); err == nil {
		p.madeDir = true
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := p.sweep(ctx); err != nil {
		return err
	}
	if err := os.Mkdir(p.hidden, 0o700); err != nil {
		return err
	}
	lock, err := lockDirectory(p.hidden)
	if err != nil {
		return err
	}
	p.lock = lock
	tree, err := rootfs.Open(p.hidden)
	if err != nil {
		return err
	}
	p.id, err = tree.Identity()
	if err = errors.Join(err, tree.Close()); err != nil {
		return err
	}
	for _, dir := range []string{p.work(), p.out(), p.logs(), p.state(), p.old()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	return os.Chmod(p.hidden, 0o700) //nolint:gosec // a directory needs x
}

var errBusy = errors.New("somebody holds it")

func lockDirectory(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errBusy
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweep removes the hidden directories of this image that nobody holds.
func (p *place) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), p.prefix())
		if !ours || !e.IsDir() || len(rest) != len(rand.Text()) {
			continue
		}
		dir := filepath.Join(p.dir, e.Name())
		info, err := os.Lstat(dir)
		if err != nil {
			continue // it went
		}
		if info.Mode().Perm() != 0o700 || !ownedByRoot(info) {
			continue // not made by us
		}
		lock, err := lockDirectory(dir)
		if errors.Is(err, errBusy) {
			return &BusyError{p.name, p.dir}
		}
		if err != nil {
			return err
		}
		left := &place{name: p.name, dir: p.dir, hidden: dir, lock: lock}
		tree, err := rootfs.Open(dir)
		if err != nil {
			return err
		}
		left.id, err = tree.Identity()
		if err = errors.Join(err, tree.Close()); err != nil {
			return err
		}
		if err := left.restore(); err != nil {
			return err
		}
		if err := left.remove(ctx); err != nil {
			return fmt.Errorf("removing what a run that was killed left: %w", err)
		}
	}
	return nil
}

// restore puts back what a run that was killed amid publishing had moved away.
func (p *place) restore() error {
	entries, err := os.ReadDir(p.old())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, moveAway(filepath.Join(p.old(), e.Name()), filepath.Join(p.dir, e.Name())))
	}
	return err
}

// moveAway renames, unless there is something at the new name by now.
func moveAway(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// publish gives everything its name. What stood there goes into the hidden
// directory first, and comes back when something fails.
func (p *place) publish() error {
	if err := p.copyLog(filepath.Join(p.out(), p.name+suffixLog)); err != nil {
		return err
	}
	if err := syncDir(p.hidden); err != nil {
		return err
	}
	var done []string
	if p.force {
		for _, f := range p.stale() {
			if err := os.Rename(filepath.Join(p.dir, f), filepath.Join(p.old(), f)); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return errors.Join(err, p.takeBack(done))
			}
			done = append(done, f)
		}
	}
	for _, f := range p.files() {
		from, to, old := filepath.Join(p.out(), f), filepath.Join(p.dir, f), filepath.Join(p.old(), f)
		if p.force || f == p.name+suffixLog {
			if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return errors.Join(err, p.takeBack(done))
			}
		}
		err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			err = &ExistsError{to}
		}
		if err != nil {
			return errors.Join(err, p.takeBack(append(done, f)))
		}
		done = append(done, f)
	}
	p.madeDir, p.kept = false, true
	return syncDir(p.dir)
}

func (p *place) takeBack(done []string) error {
	var errs []error
	for _, f := range slices.Backward(done) {
		errs = append(errs, moveAway(filepath.Join(p.dir, f), filepath.Join(p.out(), f)), moveAway(filepath.Join(p.old(), f), filepath.Join(p.dir, f)))
	}
	return errors.Join(errs...)
}

func (p *place) copyLog(to string) error {
	data, err := os.ReadFile(stages.CustomizeLog(p.logs(), p.name))
	if errors.Is(err, fs.ErrNotExist) {
		data, err = nil, nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// log is where the log will be.
func (p *place) log() string { return filepath.Join(p.dir, p.name+suffixLog) }

// remove removes the hidden directory. The log of an image that could not be
// made is put in the place of the image's.
func (p *place) remove(ctx context.Context) error {
	if p.lock == nil {
		return nil // it was not begun
	}
	if info, err := os.Stat(stages.CustomizeLog(p.logs(), p.name)); err == nil && info.Size() > 0 && !p.kept && p.log() != "" {
		to := p.log()
		_ = os.Remove(to)
		if p.copyLog(to) == nil {
			p.madeDir = false
		}
	}
	err := errors.Join(customize.Sweep(ctx, p.root(), machines.RuntimeDir), rootfs.RemoveTree(ctx, p.hidden, p.id), p.lock.Close())
	if p.madeDir {
		_ = os.Remove(p.dir) // what is not empty stays
	}
	return err
}
