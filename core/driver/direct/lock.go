package direct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// errHeld is returned when another process holds the lock for long.
var errHeld = errors.New("another process holds the lock")

// acquire takes the lock at path, making it and its directory where missing.
// It waits at most as long as ctx lasts, for others that only look.
func acquire(ctx context.Context, path string) (*flock.Flock, error) {
	for {
		// It says so of a directory that was removed as it was about to be made.
		if err := os.MkdirAll(filepath.Dir(path), 0o700); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		l := flock.New(path, flock.SetPermissions(0o600))
		ok, err := l.TryLockContext(ctx, 5*time.Millisecond)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the directory was removed at this moment
		}
		if !ok {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, errHeld), l.Close())
		}
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The holder before us may have removed the file that we waited for.
		same, err := current(l, path)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		if same {
			return l, nil
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

func current(l *flock.Flock, path string) (bool, error) {
	ours, err := l.Stat()
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	return os.SameFile(ours, there), nil
}

// held tells whether a process holds the lock at path. It never makes it.
func held(path string) (bool, error) {
	l := flock.New(path, flock.SetFlag(os.O_RDONLY))
	ok, err := l.TryRLock()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := l.Close(); err != nil {
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
	return !ok, nil
}
