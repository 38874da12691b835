package rootcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Export writes the tree of an entry as an archive, zstd in tar. The same tree
// gives the same bytes, wherever it is kept and however. They are checked while
// they are written: after an error what was written is to be thrown away.
func (c *Cache) Export(ctx context.Context, digest string, w io.Writer) error {
	r, err := c.open(digest)
	if err != nil {
		return fmt.Errorf("export the cached tree %s: %w", digest, err)
	}
	err = errors.Join(r.export(ctx, w), r.close())
	var bad *damagedError
	if errors.As(err, &bad) {
		c.discard(ctx, digest, bad)
	}
	if err != nil {
		return fmt.Errorf("export the cached tree %s: %w", digest, err)
	}
	return nil
}

func (r *reading) export(ctx context.Context, w io.Writer) error {
	if r.Blob != nil {
		f, err := openFile(r.dir, blobFile)
		if err != nil {
			return damaged("%v", err)
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(io.MultiWriter(w, sum), f); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != r.Blob.SHA256 {
			return damaged("its archive is not what was written")
		}
		return nil
	}
	tree, err := rootfs.Open(filepath.Join(r.path, snapshot))
	if err != nil {
		return damaged("%v", err)
	}
	defer tree.Close() //nolint:errcheck // only read from
	if err := r.sealed(tree); err != nil {
		return err
	}
	plain := counter{hash: sha256.New()}
	err = compress(w, &plain, func(w io.Writer) error { return archive.Write(ctx, w, tree, archive.WriteOptions{}) })
	if err != nil {
		return err
	}
	if plain.digest() != r.Tree {
		return damaged("its snapshot is not what was kept")
	}
	return nil
}

// ErrTooLarge says that a tree of another cache is more than this one takes.
var ErrTooLarge = errors.New("the tree is too large")

// Import keeps what Export wrote, of an entry that another cache had; its Tree
// says what must be in there. What is known of it is held to what a plugin may
// say. ErrTooLarge is a tree that has, unpacked, more bytes than are kept in all
// or than the disk can spare. The lock of its key is held.
func (c *Cache) Import(ctx context.Context, e Entry, r io.Reader) error {
	if e.Key.Digest() != e.Digest || !nameForm.MatchString(e.Tree) {
		return errors.New("what is said of the tree to import does not fit together")
	}
	var err error
	if e.Facts, err = sdk.CheckFacts(e.Facts); err != nil {
		return fmt.Errorf("what is said of the tree to import: %w", err)
	}
	_, err = c.fill(ctx, e, func(dir string, to *kept) error { return keepImported(ctx, dir, r, c.room(), to) })
	if err != nil {
		return fmt.Errorf("import a tree into the cache: %w", err)
	}
	return nil
}

// room is how many bytes a tree of another cache may have.
func (c *Cache) room() int64 {
	most := int64(archive.DefaultMaxBytes - 1)
	if bound := c.Bound(); bound > 0 {
		most = min(most, bound)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(c.dir, &disk); err == nil {
		free := int64(disk.Bavail) * disk.Bsize
		most = min(most, free-free/8) // others want some of it
	}
	return most
}

// keepImported extracts what is imported, which finds out whether it is sound,
// and keeps what came of it as a tree that was made here.
func keepImported(ctx context.Context, dir string, r io.Reader, room int64, to *kept) error {
	wanted, staging := to.Tree, filepath.Join(dir, "staging")
	if err := rootfs.MakeRoot(staging); err != nil {
		return err
	}
	if err := unpack(ctx, r, staging, room); errors.Is(err, archive.ErrTooLarge) {
		return fmt.Errorf("%w: unpacked, it has more than %d MiB", ErrTooLarge, room>>20)
	} else if err != nil {
		return err
	}
	tree, err := rootfs.Open(staging)
	if err != nil {
		return err
	}
	err = errors.Join(keep(ctx, dir, tree, to), tree.Close(), discardRoot(ctx, staging))
	if err == nil && to.Tree != wanted {
		err = fmt.Errorf("it is of the tree %s, and was said to be %s", to.Tree, wanted)
	}
	return err
}

// Has tells whether there is an entry of a digest, unchecked.
func (c *Cache) Has(digest string) bool {
	_, err := os.Lstat(c.path(digest, metaFile))
	return err == nil
}
