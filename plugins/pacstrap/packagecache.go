package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// packageCache keeps downloaded packages between jobs. pacman verifies what it
// takes out of it as it verifies what it downloads.
//
// Several pacmans must not download into one directory: they append to each
// other's partial files. So each job has a directory of its own, which pacman
// writes to, and the shared one is only looked into; when the job ends, what was
// downloaded whole is renamed into the shared one. Jobs hold a lock on their
// directory, so that those of killed jobs can be told and cleared.
type packageCache struct {
	root   string   // has the two below
	own    string   // of this job
	lock   *os.File // the own directory
	before bool     // the shared directory had packages when the job began
}

func (c *packageCache) shared() string { return filepath.Join(c.root, "pkg") }
func (c *packageCache) jobs() string   { return filepath.Join(c.root, "downloads") }

// directories are pacman's CacheDirs: the first is the one it writes to.
func (c *packageCache) directories() []string { return []string{c.own, c.shared()} }

// openPackageCache makes the directories of a job in the cache at root.
func openPackageCache(root string) (*packageCache, error) {
	c := &packageCache{root: root}
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("package cache: %w", err)
	}
	return c, nil
}

func (c *packageCache) open() error {
	for _, directory := range []string{c.shared(), c.jobs()} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			return err
		}
	}
	// Between making and locking its own, a job must not look like a dead one.
	all, err := lock(c.jobs(), true)
	if err != nil {
		return err
	}
	defer all.Close() //nolint:errcheck // only a lock
	if err := c.clearDead(); err != nil {
		return err
	}
	kept, err := os.ReadDir(c.shared())
	if err != nil {
		return err
	}
	c.before = len(kept) > 0
	if c.own, err = os.MkdirTemp(c.jobs(), "job-"); err != nil {
		return err
	}
	c.lock, err = lock(c.own, false)
	return err
}

// lock locks a directory until the file is closed or the process has ended.
func lock(directory string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(directory, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// clearDead takes what is whole out of the directories of jobs that were
// killed, and removes them.
func (c *packageCache) clearDead() error {
	entries, err := os.ReadDir(c.jobs())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		directory := filepath.Join(c.jobs(), entry.Name())
		held, err := lock(directory, false)
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(c.collect(directory), held.Close()); err != nil {
			return err
		}
	}
	return nil
}

// whole is the name of a package, or of its signature, that was downloaded to
// its end.
var whole = regexp.MustCompile(`^[A-Za-z0-9@_+][A-Za-z0-9@._+:~-]*\.pkg\.tar(\.[a-z0-9]{1,4})?(\.sig)?$`)

// collect moves what is whole in a directory to the shared one and removes the
// directory.
func (c *packageCache) collect(directory string) error {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !whole.MatchString(entry.Name()) || strings.HasSuffix(entry.Name(), ".part") {
			continue
		}
		to := filepath.Join(c.shared(), entry.Name())
		if err := os.Rename(filepath.Join(directory, entry.Name()), to); err != nil {
			return err
		}
	}
	return os.RemoveAll(directory)
}

// used reports whether packages may come out of the cache.
func (c *packageCache) used() bool { return c.before }

// corrupted is what pacman says of a package that does not verify; it then
// removes it.
var corrupted = regexp.MustCompile(`^:: File (\S+) is corrupted`)

// isBlamed reports whether a job failed because of a package that came out of
// the shared directory.
func (c *packageCache) isBlamed(err error) bool {
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeVerification {
		return false
	}
	for _, line := range failure.Tail {
		if m := corrupted.FindStringSubmatch(line); m != nil && filepath.Dir(m[1]) == c.shared() {
			return true
		}
	}
	return false
}

// close ends the job's use of the cache.
func (c *packageCache) close() error {
	err := c.collect(c.own)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(err, c.lock.Close()); err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	return nil
}
