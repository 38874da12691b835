// Package hostfile writes and removes the files that nspawn-build generates on
// the host itself, under /etc and /var/lib/machines.
//
// It never overwrites and never removes what nspawn-build did not make: a file
// is ours when its content says so, a link when it points where ours would, and
// a directory when it was recorded as made by us.
package hostfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
)

// ErrForeign says that something is in the way that is not ours.
var ErrForeign = errors.New("was not made by nspawn-build")

// Ours reports from a file's content whether nspawn-build made it.
type Ours func(content []byte) bool

// Files writes and removes generated files. Several processes may use it at
// once only under the store's allocation lock.
type Files struct {
	// Made is the path of the file that lists the directories that were made.
	Made string

	left []string // of the list, what is gone and could not be taken off it
}

// Same reports whether path holds exactly content. ErrForeign when a file is
// there that is not ours.
func (f *Files) Same(path string, content []byte, ours Ours) (bool, error) {
	have, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !ours(have):
		return false, fmt.Errorf("%s %w", path, ErrForeign)
	}
	return bytes.Equal(have, content), nil
}

// Read returns the content of a file of ours; nil when there is no file.
// ErrForeign when one is there that is not ours.
func (f *Files) Read(path string, ours Ours) ([]byte, error) {
	have, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !ours(have):
		return nil, fmt.Errorf("%s %w", path, ErrForeign)
	}
	return have, nil
}

// read reads a regular file; a link or anything else that is there is foreign.
func read(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", path, ErrForeign)
	}
	return os.ReadFile(path)
}

// Write puts content at path unless something foreign is there. It makes the
// directories that are missing, and remembers them.
func (f *Files) Write(path string, content []byte, mode fs.FileMode, ours Ours) error {
	same, err := f.Same(path, content, ours)
	if err != nil || same {
		return err
	}
	if err := f.makeDirectories(filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.Write(path, content, mode)
}

// Remove removes a file of ours and the directories that were made for it. A
// file that is missing or foreign is left as it is; foreign is ErrForeign.
func (f *Files) Remove(path string, ours Ours) error {
	have, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // but perhaps what a killed run left
	case err != nil:
		return err
	case !ours(have):
		return fmt.Errorf("%s %w", path, ErrForeign)
	}
	if err := atomicfile.Remove(path); err != nil {
		return err
	}
	return f.Prune(filepath.Dir(path))
}

// Linked reports whether path is a link to target. ErrForeign when something
// else is there.
func (f *Files) Linked(target, path string) (bool, error) {
	have, err := os.Readlink(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, unix.EINVAL) || err == nil && have != target:
		return false, fmt.Errorf("%s %w", path, ErrForeign)
	}
	return err == nil, err
}

// Link makes path a link to target unless something else is there.
func (f *Files) Link(target, path string) error {
	linked, err := f.Linked(target, path)
	if err != nil || linked {
		return err
	}
	if err := f.makeDirectories(filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.Symlink(target, path)
}

// Unlink removes path if it is a link to target, and leaves anything else.
func (f *Files) Unlink(target, path string) error {
	linked, err := f.Linked(target, path)
	if err != nil && !errors.Is(err, ErrForeign) {
		return err
	}
	if linked {
		if err := atomicfile.Remove(path); err != nil {
			return err
		}
	}
	return f.Prune(filepath.Dir(path))
}

// MakeDirectory makes a directory and its missing parents, all of mode, and
// remembers them.
func (f *Files) MakeDirectory(dir string, mode fs.FileMode) error {
	return f.makeAll(dir, mode)
}

func (f *Files) makeDirectories(dir string) error { return f.makeAll(dir, 0o755) }

func (f *Files) makeAll(dir string, mode fs.FileMode) error {
	var missing []string
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is not a directory", d)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, d)
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Reverse(missing)
	made, err := f.made()
	if err != nil {
		return err
	}
	// Recorded before they are made: after a crash in between there is a
	// record without a directory, which Prune passes over, and never a
	// directory that nobody knows.
	if err := f.record(append(made, missing...)); err != nil {
		return err
	}
	for _, d := range missing {
		if err := atomicfile.Mkdir(d, mode); err != nil {
			return err
		}
	}
	return nil
}

// Prune removes dir and its parents as long as we made them and they are empty.
func (f *Files) Prune(dir string) error {
	made, err := f.made()
	if err != nil {
		return err
	}
	var gone []string
	for slices.Contains(made, dir) {
		err := os.Remove(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			break // something is in it still
		}
		made = slices.DeleteFunc(made, func(d string) bool { return d == dir })
		gone = append(gone, dir)
		dir = filepath.Dir(dir)
	}
	if len(gone) == 0 && len(made) > 0 {
		return nil
	}
	return f.strike(gone)
}

// strike takes paths off the list. Where there is no room to write it down, that
// is left to Settle.
func (f *Files) strike(gone []string) error {
	made, err := f.made()
	if err != nil {
		return err
	}
	gone = append(gone, f.left...)
	err = f.record(slices.DeleteFunc(made, func(p string) bool { return slices.Contains(gone, p) }))
	f.left = nil
	if atomicfile.IsFull(err) {
		f.left, err = gone, nil
	}
	return err
}

// Settle writes down what there was no room for, once there may be some.
func (f *Files) Settle() error {
	if len(f.left) == 0 {
		return nil
	}
	err := f.strike(nil)
	if err == nil && len(f.left) > 0 {
		err = fmt.Errorf("%s: %w", f.Made, unix.ENOSPC)
	}
	return err
}

// Note remembers of something that others make at our wish, such as a unit that
// the service manager enables, that it was made for machines. It is noted before
// it is made.
func (f *Files) Note(path string) error {
	made, err := f.made()
	if err != nil {
		return err
	}
	return f.record(append(made, path))
}

// Noted reports whether path was noted.
func (f *Files) Noted(path string) (bool, error) {
	made, err := f.made()
	return slices.Contains(made, path), err
}

// Unnote forgets paths, and directories too: then they are somebody else's from
// here on, and stay.
func (f *Files) Unnote(paths ...string) error { return f.strike(paths) }

func (f *Files) made() ([]string, error) {
	data, err := os.ReadFile(f.Made)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var dirs []string
	if err := json.Unmarshal(data, &dirs); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Made, err)
	}
	return dirs, nil
}

func (f *Files) record(dirs []string) error {
	if len(dirs) == 0 {
		return atomicfile.Remove(f.Made)
	}
	slices.Sort(dirs)
	data, err := json.Marshal(slices.Compact(dirs))
	if err != nil {
		return err
	}
	dir := filepath.Dir(f.Made)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := atomicfile.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return atomicfile.Write(f.Made, append(data, '\n'), 0o600)
}
