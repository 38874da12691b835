package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// MkdirAll makes the directory name and those above it that are missing, with
// these permission bits whatever the umask, owned by the owner of the tree's
// root directory. Directories that exist are left as they are. A link that
// leads nowhere leads to a place inside the tree, which is then made.
func (t *Tree) MkdirAll(name string, mode fs.FileMode) error {
	if mode&^(fs.ModePerm|fs.ModeSticky) != 0 {
		return t.fail("make directory", name, fmt.Errorf("mode %v is more than permissions: %w", mode, fs.ErrInvalid))
	}
	dir, err := t.makeDir(name, mode)
	if err == nil {
		err = dir.Close()
	}
	if err != nil {
		return t.fail("make directory", name, err)
	}
	return nil
}

// makeDir is MkdirAll that returns a handle of the directory.
func (t *Tree) makeDir(name string, mode fs.FileMode) (*os.File, error) {
	dir, err := t.open(name)
	if err == nil {
		return onlyDir(dir)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// Whatever a racing machine makes of this answer, it is a path without
	// links that is walked from the root, one component at a time.
	seen := &links{tree: t}
	plain, err := securejoin.SecureJoinVFS("/", name, seen)
	if err != nil {
		return nil, err
	}
	for _, missing := range seen.missing {
		if !strings.HasPrefix(plain+"/", missing+"/") {
			return nil, fmt.Errorf("%q, out of which it leads with \"..\": %w", missing, fs.ErrNotExist)
		}
	}
	return t.walk(strings.FieldsFunc(plain, func(r rune) bool { return r == '/' }), mode)
}

// onlyDir passes dir on if it is a directory.
func onlyDir(dir *os.File) (*os.File, error) {
	info, err := dir.Stat()
	if err == nil && !info.IsDir() {
		err = unix.ENOTDIR
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// walk goes down from the root and makes what is missing. It follows nothing.
func (t *Tree) walk(parts []string, mode fs.FileMode) (*os.File, error) {
	dir, err := openAt(t.root, ".", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		next, err := openAt(dir, part, unix.O_PATH|unix.O_DIRECTORY)
		if errors.Is(err, fs.ErrNotExist) {
			next, err = t.mkdirAt(dir, part, mode)
		}
		if err = errors.Join(err, dir.Close()); err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}

// mkdirAt makes one directory and returns it open.
func (t *Tree) mkdirAt(parent *os.File, base string, mode fs.FileMode) (*os.File, error) {
	err := unix.Mkdirat(int(parent.Fd()), base, 0o700)
	if errors.Is(err, fs.ErrExist) { // somebody was faster: it is not ours to change
		return openAt(parent, base, unix.O_PATH|unix.O_DIRECTORY)
	}
	if err != nil {
		return nil, err
	}
	dir, err := openAt(parent, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	if err = errors.Join(t.own(dir), dir.Chmod(mode)); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// links lets securejoin look at the links of a tree, and remembers what it
// did not find: it goes on as if that were a directory.
type links struct {
	tree    *Tree
	missing []string
}

// Lstat describes what is at name.
func (l *links) Lstat(name string) (os.FileInfo, error) {
	info, err := l.tree.Lstat(name)
	if securejoin.IsNotExist(err) {
		l.missing = append(l.missing, path.Clean(name))
	}
	return info, err
}

// Readlink returns where the link name points.
func (l *links) Readlink(name string) (string, error) { return l.tree.Readlink(name) }
