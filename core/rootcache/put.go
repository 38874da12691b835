package rootcache

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Put keeps a tree, which nobody changes meanwhile, under a key whose lock is
// held; see Lock. What is there already is replaced.
func (c *Cache) Put(ctx context.Context, k Key, t *rootfs.Tree, facts sdk.Facts) (Entry, error) {
	e := Entry{Key: k, Digest: k.Digest(), Made: time.Now().UTC(), Facts: facts}
	e, err := c.fill(ctx, e, func(dir string, to *kept) error { return keep(ctx, dir, t, to) })
	if err != nil {
		return Entry{}, fmt.Errorf("keep the tree: %w", err)
	}
	return e, nil
}

// fill makes an entry under a hidden name and gives it its own.
func (c *Cache) fill(ctx context.Context, e Entry, with func(dir string, to *kept) error) (_ Entry, err error) {
	if err := e.Key.check(); err != nil {
		return Entry{}, err
	}
	if err := c.prepare(ctx); err != nil {
		return Entry{}, err
	}
	hidden, lock, err := c.hidden()
	if err != nil {
		return Entry{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, discardRoot(ctx, hidden))
		}
		err = errors.Join(err, lock.Close())
	}()
	to := kept{Entry: e}
	if err := with(hidden, &to); err != nil {
		return Entry{}, err
	}
	to.Used = to.Made
	meta, err := to.encode()
	if err != nil {
		return Entry{}, err
	}
	if err := os.WriteFile(filepath.Join(hidden, metaFile), meta, 0o600); err != nil {
		return Entry{}, err
	}
	if err := c.publish(ctx, hidden, e.Digest); err != nil {
		return Entry{}, err
	}
	// The one that has just been made stays, whatever its size.
	_, _ = c.prune(ctx, PruneOptions{MaxSize: c.Bound()}, e.Digest)
	return to.Entry, nil
}

// Bound is the bound on what is kept, in bytes; zero is none.
func (c *Cache) Bound() int64 {
	switch {
	case c.MaxSize == 0:
		return DefaultMaxSize
	case c.MaxSize < 0:
		return 0
	}
	return c.MaxSize
}

// publish renames what is whole. Nothing is brought to disk for that: after a
// power cut a half-written entry is one that is damaged.
func (c *Cache) publish(ctx context.Context, hidden, name string) error {
	for range 10 {
		err := unix.Renameat2(unix.AT_FDCWD, hidden, unix.AT_FDCWD, c.path(name), unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			// Such as ZFS before 2.2. A directory takes no other's place.
			err = os.Rename(hidden, c.path(name))
		}
		if !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
		if err := c.remove(ctx, name); err != nil {
			return err
		}
	}
	return errors.New("another one keeps appearing in its place")
}

const hiddenPrefix = ".new-"

// hidden makes a directory to be filled, and locks it: see sweep.
func (c *Cache) hidden() (string, *os.File, error) {
	for {
		path := c.path(hiddenPrefix + rand.Text())
		if err := os.Mkdir(path, 0o700); err != nil {
			return "", nil, err
		}
		dir, err := openDir(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // swept before it was locked
		}
		if err != nil {
			return "", nil, err
		}
		if hold(dir, unix.LOCK_EX) && still(dir, path) {
			return path, dir, nil
		}
		if err := dir.Close(); err != nil {
			return "", nil, err
		}
	}
}

// keep writes a tree into the directory of an entry: as a snapshot where there
// can be one.
func keep(ctx context.Context, dir string, t *rootfs.Tree, to *kept) error {
	path := filepath.Join(dir, snapshot)
	seal, done, err := t.SealAs(path)
	if err != nil {
		return err
	}
	if !done {
		return keepArchive(ctx, dir, to, func(w io.Writer) error { return archive.Write(ctx, w, t, archive.WriteOptions{}) })
	}
	sealed, err := rootfs.Open(path)
	if err != nil {
		return err
	}
	defer sealed.Close() //nolint:errcheck // only read from
	id, err := sealed.Identity()
	if err != nil {
		return err
	}
	to.Seal, to.Root = &seal, &id
	sum := counter{hash: sha256.New()}
	if err := archive.Write(ctx, &sum, sealed, archive.WriteOptions{}); err != nil {
		return err
	}
	to.Tree = sum.digest()
	to.Size, err = sealed.Size()
	return err
}

// keepArchive keeps a tar stream, compressed.
func keepArchive(ctx context.Context, dir string, to *kept, write func(io.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(dir, blobFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	out, sum, plain := bufio.NewWriterSize(f, 1<<20), counter{hash: sha256.New()}, counter{hash: sha256.New()}
	if err := compress(io.MultiWriter(out, &sum), &plain, write); err != nil {
		return err
	}
	if err := errors.Join(out.Flush(), f.Close(), ctx.Err()); err != nil {
		return err
	}
	to.Tree = plain.digest()
	to.Blob = &blob{SHA256: sum.digest(), Size: sum.bytes, Stream: plain.bytes}
	to.Size = sum.bytes
	return nil
}

// compress compresses what write writes, the same way every time.
func compress(to io.Writer, plain *counter, write func(io.Writer) error) error {
	packed, err := archive.Compress(to, archive.Zstd, archive.CompressOptions{Fast: true})
	if err != nil {
		return err
	}
	err = write(io.MultiWriter(packed, plain))
	return errors.Join(err, packed.Close())
}

// counter counts and digests what is written to it.
type counter struct {
	hash  hash.Hash
	bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return c.hash.Write(p)
}

func (c *counter) digest() string { return hex.EncodeToString(c.hash.Sum(nil)) }
