package rootcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// Health is what Check found.
type Health struct {
	Sound   int      // entries
	Damaged []string // what is wrong with each of the others, after its digest
	Half    int      // what killed processes left half made or half removed
}

// Check reads everything that is kept, and changes nothing. Take finds out the
// same of the one entry that it is asked for.
func (c *Cache) Check(ctx context.Context) (Health, error) {
	return c.every(ctx, func(string, *damagedError) {})
}

// Mend removes what Check finds wrong, and nothing else.
func (c *Cache) Mend(ctx context.Context) error {
	_, err := c.every(ctx, func(name string, why *damagedError) { c.discard(ctx, name, why) })
	if err == nil {
		c.sweep(ctx)
	}
	return err
}

func (c *Cache) every(ctx context.Context, bad func(name string, why *damagedError)) (h Health, err error) {
	if err := c.look(); err != nil {
		return h, gone(err)
	}
	names, err := os.ReadDir(c.dir)
	if err != nil {
		return h, gone(err)
	}
	for _, n := range names {
		switch {
		case ctx.Err() != nil:
			return h, ctx.Err()
		case nameForm.MatchString(n.Name()):
			err := c.check(ctx, n.Name())
			var why *damagedError
			switch {
			case errors.As(err, &why):
				h.Damaged = append(h.Damaged, n.Name()[:12]+": "+why.reason)
				bad(n.Name(), why)
			case err == nil:
				h.Sound++
			case !errors.Is(err, fs.ErrNotExist): // it is being removed
				return h, err
			}
		case n.IsDir() && strings.HasPrefix(n.Name(), ".") && c.left(n.Name()):
			h.Half++
		}
	}
	return h, nil
}

// left tells whether nobody is at work in a hidden directory.
func (c *Cache) left(name string) bool {
	dir, err := openDir(c.path(name))
	if err != nil {
		return false
	}
	defer dir.Close()
	return hold(dir, unix.LOCK_SH) && still(dir, c.path(name))
}

// check reads an entry as Take does, and makes nothing of it.
func (c *Cache) check(ctx context.Context, name string) (err error) {
	r, err := c.open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if r.Seal != nil {
		tree, err := rootfs.Open(filepath.Join(r.path, snapshot))
		if err != nil {
			return damaged("%v", err)
		}
		return errors.Join(r.sealed(tree), tree.Close())
	}
	f, err := openFile(r.dir, blobFile)
	if err != nil {
		return damaged("%v", err)
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, interruptible{ctx, f})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return damaged("%v", err)
	case size != r.Blob.Size || hex.EncodeToString(sum.Sum(nil)) != r.Blob.SHA256:
		return damaged("its archive is not what was written")
	}
	return nil
}

// interruptible is a reader that ends with a context.
type interruptible struct {
	ctx context.Context //nolint:containedctx // it is read from in one call
	r   io.Reader
}

func (i interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}
