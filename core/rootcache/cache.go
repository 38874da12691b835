// Package rootcache keeps bootstrapped trees, each under a digest of all that it
// was made of: the plugin's program, its tool, the request and what the
// repositories held. A tree that is taken out is the one that was put in, to the
// byte, or it is not taken: what is cut short, altered or replaced is thrown
// away and made anew.
//
// On btrfs an entry is a read-only snapshot, and taking it is another snapshot.
// Elsewhere it is a compressed archive whose SHA-256 is checked while it is
// extracted; nothing is published before that matches.
//
// An entry is written under a hidden random name and renamed. Whoever writes,
// reads or removes one holds a lock that ends with its process, so that what a
// killed process left is known by nobody holding it. The package must never
// serve what it did not check, never wait while it holds the lock of an entry,
// and never fail its caller because something could not be kept.
package rootcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// DefaultMaxSize is how much a cache holds unless it is told otherwise, in bytes.
const DefaultMaxSize = 10 << 30

// Cache is a directory of entries. It may be used by several goroutines and
// processes.
type Cache struct {
	dir string
	// MaxSize bounds what is kept when something is put, in bytes; what was used
	// longest ago goes first. Zero means DefaultMaxSize, less than zero no bound.
	MaxSize int64
	// Warn is told what was thrown away, and why; nil for nobody.
	Warn func(message, hint string)
}

// Entry is one tree that is kept.
type Entry struct {
	Key    Key       `json:"key"`
	Digest string    `json:"digest"` // of the key
	Tree   string    `json:"tree"`   // SHA-256 of the tree's canonical tar
	Size   int64     `json:"size"`   // on disk, in bytes
	Made   time.Time `json:"made"`
	Used   time.Time `json:"used"` // for the last time
	Facts  sdk.Facts `json:"facts"`
}

// ErrMiss is what every *Miss is.
var ErrMiss = errors.New("not in the cache")

// ErrUnsound is what another cache has under a key that is not a tree of it.
var ErrUnsound = errors.New("not a tree of the key")

// Open returns the cache in a directory, which is made when something is put.
// One that others than its owner can write to is refused: what is in it becomes
// the root of machines.
func Open(dir string) (*Cache, error) {
	c := &Cache{dir: filepath.Clean(dir)}
	err := c.look()
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return c, err
}

// look makes sure that the directory is ours alone.
func (c *Cache) look() error {
	info, err := os.Lstat(c.dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || !private(info) {
		return &UnsafeError{c.dir}
	}
	return nil
}

// UnsafeError says that others could write to a cache.
type UnsafeError struct{ Dir string }

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("%s is not a directory that root alone can come near: trees are neither taken from it nor kept there", e.Dir)
}

// Hint says what would do.
func (e *UnsafeError) Hint() string { return "remove it: rm -r " + e.Dir }

// private tells whether nobody but this user can read or write something.
func private(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid() && info.Mode().Perm()&0o077 == 0
}

// prepare makes the directory, and removes what killed processes left in it.
func (c *Cache) prepare(ctx context.Context) error {
	// Others of the program's caches are beside it, and not secret.
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o755); err != nil { //nolint:gosec // see above
		return err
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := c.look(); err != nil {
		return err
	}
	c.sweep(ctx)
	return nil
}

func (c *Cache) path(name ...string) string {
	return filepath.Join(append([]string{c.dir}, name...)...)
}

func (c *Cache) warn(hint, format string, args ...any) {
	if c.Warn != nil {
		c.Warn(fmt.Sprintf(format, args...), hint)
	}
}

// openDir opens a directory of ours, through no link.
func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// openFile opens a regular file in a directory that is open, through no link,
// and makes sure that nobody else has a hand on it.
func openFile(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || !private(info)) {
		err = fmt.Errorf("%s is not a file of root's alone", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
