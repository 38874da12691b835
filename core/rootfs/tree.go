// Package rootfs is the only code that touches a machine's tree. A tree is
// untrusted: a package, a plugin or the machine itself may have put any link,
// device or mount into it. Whatever is in there, nothing here reads or writes
// outside of the tree.
//
// Every name is resolved as if the tree were the root directory, so absolute
// links such as /etc/resolv.conf -> /run/... work and stay inside, and magic
// links of /proc are never followed. What is written never goes through an
// existing file: it is made beside it under an unpredictable name and renamed.
// The package must never join the path of a tree with a name from outside,
// nor open, inside a tree, anything but directories and regular files.
//
// A crash in the middle of a write may leave a file named .nspawn-build-*
// beside the one that was written, never a half-written one.
package rootfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// Tree is an open machine's tree. It stays on the directory that was opened,
// whatever happens to its path. It can be used by several goroutines.
type Tree struct {
	root *os.File // O_PATH
	path string
	// alone says that the tree is a whole file system, and mounted nowhere.
	alone bool
}

// Alone takes the root of a file system that is mounted nowhere, fsmount(2)'s,
// for a tree. It is the tree's from then on, and name is for messages.
func Alone(root *os.File, name string) *Tree { return &Tree{root: root, path: name, alone: true} }

// Open opens the tree at an absolute path. Its last component must be a
// directory and not a link to one; the host's root directory is refused.
func Open(path string) (*Tree, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("open tree %q: not an absolute path: %w", path, fs.ErrInvalid)
	}
	path = filepath.Clean(path)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open tree %q: %w", path, err)
	}
	root := os.NewFile(uintptr(fd), path)
	if err := refuseHostRoot(root); err != nil {
		return nil, errors.Join(fmt.Errorf("open tree %q: %w", path, err), root.Close())
	}
	return &Tree{root: root, path: path}, nil
}

// refuseHostRoot fails when dir is the root directory of the host, under
// whatever path it was reached.
func refuseHostRoot(dir *os.File) error {
	host, err := os.Stat("/")
	if err != nil {
		return err
	}
	own, err := dir.Stat()
	if err != nil {
		return err
	}
	if os.SameFile(host, own) {
		return fmt.Errorf("this is the root directory of the host: %w", fs.ErrInvalid)
	}
	return nil
}

// Close releases the tree.
func (t *Tree) Close() error { return t.root.Close() }

// Root returns a handle of the tree's root directory, for a process that is to
// take it for its own root. It is the tree's: whoever closes one closes both.
func (t *Tree) Root() *os.File { return t.root }

// Path returns the path that the tree was opened at. It is for messages only:
// something else may be there by now.
func (t *Tree) Path() string { return t.path }

// Identity recognises this very tree later on.
func (t *Tree) Identity() (Identity, error) {
	id, err := identify(t.root)
	if err != nil {
		return Identity{}, fmt.Errorf("identify tree %q: %w", t.path, err)
	}
	return id, nil
}

// open returns a handle, good for no input or output, of what name leads to.
func (t *Tree) open(name string) (*os.File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if strings.Trim(name, "/") == "" {
		name = "."
	}
	return pathrs.OpenatInRoot(t.root, name)
}

// openEntry returns a handle of the entry itself that name stands for, not of
// what it links to.
func (t *Tree) openEntry(name string) (*os.File, error) {
	dir, base, err := split(name)
	if err != nil {
		return nil, err
	}
	parent, err := t.open(dir)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return openAt(parent, base, unix.O_PATH)
}

// fail wraps err. It leaves out the path that libraries put into their
// errors: it is that of a descriptor and says nothing to the user.
func (t *Tree) fail(op, name string, err error) error {
	for wrapped := (*fs.PathError)(nil); errors.As(err, &wrapped); {
		err = wrapped.Err
	}
	return fmt.Errorf("%s %q in tree %q: %w", op, name, t.path, err)
}

// openAt opens one entry of dir and never follows it. The entry must be known
// to be a directory, or the flags hold O_PATH.
func openAt(dir *os.File, base string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), base, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), base), nil
}

// split cuts name into the directory, which may hold links and "..", and the
// entry in it. A name that stands for no entry, such as "/" or "a/..", is
// refused, and so is one that ends in a slash, which would follow a link.
func split(name string) (dir, base string, err error) {
	if err := checkName(name); err != nil {
		return "", "", err
	}
	cut := strings.LastIndexByte(name, '/')
	dir, base = name[:cut+1], name[cut+1:]
	switch base {
	case "", ".", "..":
		return "", "", fmt.Errorf("names no entry of a directory: %w", fs.ErrInvalid)
	}
	return dir, base, nil
}

// checkName refuses what no system call would take whole.
func checkName(name string) error {
	if strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("holds a NUL byte: %w", fs.ErrInvalid)
	}
	return nil
}

// temporary returns a name that nobody can have made before us.
func temporary() string { return ".nspawn-build-" + rand.Text() }
