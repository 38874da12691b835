package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// scratch is a hidden directory beside what is to be made, which nobody but root
// can enter. A crash leaves it, under a name that says whose it is.
type scratch struct {
	dir string
	out string
	id  rootfs.Identity
}

func newScratch(out string) (*scratch, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(out), ".nspawn-build-image-")
	if err != nil {
		return nil, err
	}
	s := &scratch{dir: dir, out: out}
	t, err := rootfs.Open(dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	s.id, err = t.Identity()
	if err := errors.Join(err, t.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return s, nil
}

// result is the name that the image has in the scratch directory.
const result = "image"

func (s *scratch) path(name string) string { return filepath.Join(s.dir, name) }

// create makes a file in it, which everybody may read once it is out.
func (s *scratch) create(name string) (*os.File, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, f.Chmod(0o644)
}

// publish brings the image to disk and gives it its name, if nothing has it.
func (s *scratch) publish() error {
	info, err := os.Lstat(s.path(result))
	if err != nil {
		return err
	}
	if info.IsDir() {
		return rootfs.Publish(s.path(result), s.out)
	}
	f, err := os.Open(s.path(result))
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	// A link is made where a rename would replace.
	if err := os.Link(s.path(result), s.out); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(s.out))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// remove takes it away, also when the work was called off.
func (s *scratch) remove() error {
	if err := rootfs.RemoveTree(context.Background(), s.dir, s.id); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove what is left at %q: %w", s.dir, err)
	}
	return nil
}
