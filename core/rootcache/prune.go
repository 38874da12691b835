package rootcache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// List returns the entries, the one used last first. Damaged ones are not among
// them.
func (c *Cache) List() ([]Entry, error) {
	all, _, err := c.list()
	return all, err
}

// list also names the damaged ones.
func (c *Cache) list() (all []Entry, bad map[string]*damagedError, err error) {
	names, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	bad = map[string]*damagedError{}
	for _, n := range names {
		if !nameForm.MatchString(n.Name()) {
			continue
		}
		r, err := c.open(n.Name())
		var why *damagedError
		switch {
		case errors.As(err, &why):
			bad[n.Name()] = why
		case err == nil:
			all = append(all, r.Entry)
			if err := r.close(); err != nil {
				return nil, nil, err
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return b.Used.Compare(a.Used) })
	return all, bad, nil
}

// PruneOptions say what to remove. What is given, each is a reason.
type PruneOptions struct {
	// MaxSize keeps what was used last, up to that many bytes; zero is no bound.
	MaxSize int64
	// OlderThan removes what was not used for that long; zero is for ever.
	OlderThan time.Duration
	// All removes everything.
	All bool
}

// Prune removes entries and returns them. What a machine is being made of right
// now stays. Damaged ones are removed, and what killed processes left.
func (c *Cache) Prune(ctx context.Context, o PruneOptions) ([]Entry, error) {
	if err := c.look(); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	c.sweep(ctx)
	return c.prune(ctx, o, "")
}

func (c *Cache) prune(ctx context.Context, o PruneOptions, keep string) ([]Entry, error) {
	all, bad, err := c.list()
	if err != nil {
		return nil, err
	}
	var errs []error
	for name, why := range bad {
		c.discard(ctx, name, why)
	}
	var removed []Entry
	var sum int64
	now := time.Now()
	// The one to keep counts first, then as they were used.
	slices.SortStableFunc(all, func(a, b Entry) int {
		switch keep {
		case a.Digest:
			return -1
		case b.Digest:
			return 1
		}
		return 0
	})
	for _, e := range all {
		old := o.OlderThan > 0 && now.Sub(e.Used) > o.OlderThan
		large := o.MaxSize > 0 && sum+e.Size > o.MaxSize
		if e.Digest == keep || !o.All && !old && !large {
			sum += e.Size
			continue
		}
		err := c.remove(ctx, e.Digest)
		if errors.Is(err, errInUse) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", e.Digest[:12], err))
			continue
		}
		removed = append(removed, e)
	}
	return removed, errors.Join(errs...)
}

var errInUse = errors.New("a machine is being made of it")

// remove removes what is at the name of an entry, whatever it is: first it is
// hidden, in one step.
func (c *Cache) remove(ctx context.Context, name string) error {
	path, hidden := c.path(name), c.path(".old-"+rand.Text())
	info, err := os.Lstat(path)
	if err != nil {
		return gone(err)
	}
	if !info.IsDir() {
		return gone(os.Remove(path))
	}
	dir, err := openDir(path)
	if err != nil {
		return gone(err)
	}
	defer dir.Close()
	if !hold(dir, unix.LOCK_EX) {
		return errInUse
	}
	if !still(dir, path) {
		return nil
	}
	if err := os.Rename(path, hidden); err != nil {
		return err
	}
	return discardRoot(ctx, hidden)
}

// sweep removes hidden directories that nobody holds: those who made them were
// killed.
func (c *Cache) sweep(ctx context.Context) {
	c.sweepLocks()
	names, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	for _, n := range names {
		if !n.IsDir() || !strings.HasPrefix(n.Name(), ".") {
			continue
		}
		path := c.path(n.Name())
		dir, err := openDir(path)
		if err != nil {
			continue
		}
		if hold(dir, unix.LOCK_EX) && still(dir, path) {
			// Whatever keeps it from going does not keep anybody from working.
			_ = discardRoot(ctx, path)
		}
		_ = dir.Close()
	}
}
