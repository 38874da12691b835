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
)

// locks is the directory of the locks of keys.
const locks = "locks"

// Lock takes the lock under which the tree of a key is made, so that it is made
// once. It waits until ctx is done; waiting is called once, when it has to. The
// lock ends with the process that holds it.
func (c *Cache) Lock(ctx context.Context, k Key, waiting func()) (release func() error, err error) {
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	path := c.path(locks, k.Digest())
	for first := true; ; first = false {
		f, err := c.tryLock(path)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if f != nil {
			// Unlinked while it is held: who waits for it tries the next one.
			return func() error { return errors.Join(gone(os.Remove(path)), f.Close()) }, nil
		}
		if first && waiting != nil {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tryLock returns the locked file of that path; nil when another has it.
func (c *Cache) tryLock(path string) (*os.File, error) {
	if err := os.Mkdir(c.path(locks), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if hold(f, unix.LOCK_EX) && still(f, path) {
		return f, nil
	}
	return nil, f.Close()
}

// hold takes a lock on what is open, without waiting.
func hold(f *os.File, how int) bool {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

// still tells whether what is open is what is at path.
func still(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(held, named) && held.Sys().(*syscall.Stat_t).Nlink > 0 //nolint:errcheck,forcetypeassert // os.Stat gives one
}

// gone is err, unless it says that there was nothing.
func gone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// sweepLocks removes the files of locks that nobody holds.
func (c *Cache) sweepLocks() {
	paths, _ := filepath.Glob(c.path(locks, "*")) // the pattern is well formed
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if hold(f, unix.LOCK_EX) && still(f, path) {
			_ = os.Remove(path) // another sweep may have been quicker
		}
		_ = f.Close()
	}
}
