// Package target is what a plugin does itself to the root file system that it
// makes, beside what its tools do: files written and removed in it without ever
// following a link out of it, and mounts that are all undone.
package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is the root file system that is being made. Names are relative to it,
// without a leading slash. It is an os.Root, which does not follow a link out of
// it, and refuses absolute links altogether.
type Tree struct{ *os.Root }

// Open opens the directory of Request.Target. It is to be closed.
func Open(directory string) (Tree, error) {
	root, err := os.OpenRoot(directory)
	if err != nil {
		return Tree{}, fmt.Errorf("target: %w", err)
	}
	return Tree{root}, nil
}

// Write puts a file of root's, with mode 0644, in place of whatever has its
// name. Directories on the way are made.
func (t Tree) Write(name string, content []byte) error {
	if err := t.Mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := t.Delete(name); err != nil {
		return err
	}
	f, err := t.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	_, err = f.Write(content)
	// The mode does not depend on the umask of whoever started the host.
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// Mkdir makes a directory and its parents, where they are not there.
func (t Tree) Mkdir(name string) error {
	if err := t.MkdirAll(name, 0o755); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// Delete removes a file or link, if it is there.
func (t Tree) Delete(name string) error {
	if err := t.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// DeleteMatching removes the files and links of a pattern as of path.Match.
func (t Tree) DeleteMatching(pattern string) error {
	names := []string{pattern}
	if strings.ContainsAny(pattern, "*?[") {
		var err error
		if names, err = fs.Glob(t.FS(), pattern); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	for _, name := range names {
		if err := t.Delete(name); err != nil {
			return err
		}
	}
	return nil
}

// Clear empties a directory. One that is not there is empty.
func (t Tree) Clear(name string) error {
	entries, err := fs.ReadDir(t.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	for _, entry := range entries {
		if err := t.RemoveAll(path.Join(name, entry.Name())); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	return nil
}

// Own makes the root of the tree what the root of a system is.
func (t Tree) Own() error {
	if err := errors.Join(t.Chmod(".", 0o755), t.Chown(".", 0, 0)); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// Within gives do a path to a directory of the tree that stays the same
// directory, and one of the tree, whatever happens to its name.
func (t Tree) Within(name string, do func(directory string) error) error {
	directory, err := t.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer directory.Close() //nolint:errcheck // only a place
	return do(fmt.Sprintf("/proc/self/fd/%d", directory.Fd()))
}

// unitDirectories are where packages put units.
var unitDirectories = []string{"usr/lib/systemd/system", "lib/systemd/system"}

// Units are those of names that packages have put in the tree, in order.
func (t Tree) Units(names ...string) []string {
	var there []string
	for _, name := range names {
		for _, directory := range unitDirectories {
			if _, err := t.Lstat(path.Join(directory, name)); err == nil {
				there = append(there, name)
				break
			}
		}
	}
	return there
}
