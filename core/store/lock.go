package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// ErrLocked says that another run of the program is at work on a machine.
var ErrLocked = errors.New("another nspawn-build is at work on it")

// Lock is held until Release, or until the process ends however it ends.
type Lock struct {
	f      *flock.Flock
	dirs   []string
	shared bool
}

// Lock takes the lock of one machine, or says ErrLocked at once.
func (s *Store) Lock(name string) (*Lock, error) {
	l, err := s.tryLock("machine-" + name)
	if errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	return l, err
}

// LockShared takes the lock of one machine together with others who only read
// of it; while one of them has it, Lock says ErrLocked, and so it does itself
// while another run is at work on the machine.
func (s *Store) LockShared(name string) (*Lock, error) {
	l, err := s.take("machine-"+name, (*flock.Flock).TryRLock)
	if errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	if l != nil {
		l.shared = true
	}
	return l, err
}

// LockAllocation takes the one lock under which addresses are chosen and the
// files that machines share are written. It waits until ctx is done.
func (s *Store) LockAllocation(ctx context.Context) (*Lock, error) {
	for {
		l, err := s.tryLock("allocation")
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another nspawn-build: %w", context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *Store) tryLock(name string) (*Lock, error) { return s.take(name, (*flock.Flock).TryLock) }

// take takes a lock by name. A lock's file is unlinked when it is released,
// so what was opened may be gone by the time it is locked: then it counts for
// nothing and the next one is tried.
func (s *Store) take(name string, try func(*flock.Flock) (bool, error)) (*Lock, error) {
	dir := filepath.Join(s.RuntimeDir, "locks")
	for {
		f := flock.New(filepath.Join(dir, name), flock.SetPermissions(0o600))
		var got bool
		err := inDirectory([]string{s.RuntimeDir, dir}, func() (err error) {
			got, err = try(f)
			return err
		})
		if err != nil {
			return nil, err
		}
		if !got {
			return nil, errors.Join(ErrLocked, f.Close())
		}
		if sameFile(f) {
			return &Lock{f: f, dirs: []string{dir, s.RuntimeDir}}, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

func sameFile(f *flock.Flock) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(f.Path())
	return err == nil && os.SameFile(held, named)
}

// Release gives the lock back and leaves no file behind.
func (l *Lock) Release() error {
	if l.shared {
		// The last one to go takes the file along; the others leave it to it.
		if alone, err := l.f.TryLock(); err != nil || !alone {
			return errors.Join(err, l.f.Close())
		}
	}
	err := errors.Join(os.Remove(l.f.Path()), l.f.Close())
	for _, dir := range l.dirs {
		err = errors.Join(err, removeEmpty(dir))
	}
	return err
}

func isNotEmpty(err error) bool {
	return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST)
}
