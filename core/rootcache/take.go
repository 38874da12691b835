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

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// Take makes the directory root, which does not exist yet, with the tree of that
// key. Without one the error is a *Miss, and so it is for one that was damaged,
// which is removed. Whatever the error, there is no root.
func (c *Cache) Take(ctx context.Context, k Key, root string) (Entry, error) {
	name := k.Digest()
	r, err := c.open(name)
	if err == nil {
		err = r.make(ctx, root)
		if err == nil {
			r.touch()
		}
		err = errors.Join(err, r.close())
	}
	var bad *damagedError
	switch {
	case err == nil:
		return r.Entry, nil
	case errors.As(err, &bad):
		c.discard(ctx, name, bad)
		return Entry{}, &Miss{Reason: "the tree that was kept is damaged: " + bad.reason, Damaged: true}
	case errors.Is(err, os.ErrNotExist) && r == nil:
		return Entry{}, c.miss(k)
	}
	return Entry{}, fmt.Errorf("take a tree out of the cache: %w", err)
}

// discard removes an entry that must not be served, and says so.
func (c *Cache) discard(ctx context.Context, name string, why *damagedError) {
	hint := "it is removed, and made anew when it is needed"
	if err := c.remove(ctx, name); err != nil {
		hint = "and it cannot be removed: " + err.Error()
	}
	c.warn(hint, "the cached tree %s is not used: %s", name[:12], why.reason)
}

// make makes root of the entry.
func (r *reading) make(ctx context.Context, root string) error {
	if r.Seal != nil {
		return r.clone(ctx, root)
	}
	return r.extract(ctx, root)
}

// clone makes root a snapshot of the entry's, or on another file system a copy.
func (r *reading) clone(ctx context.Context, root string) (err error) {
	tree, err := rootfs.Open(filepath.Join(r.path, snapshot))
	if err != nil {
		return damaged("%v", err)
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	if err := r.sealed(tree); err != nil {
		return err
	}
	_, err = tree.Clone(ctx, root, rootfs.CloneOptions{})
	if again := r.sealed(tree); again != nil { // while it was copied
		err = again
	}
	if err != nil {
		return errors.Join(err, discardRoot(ctx, root))
	}
	return nil
}

// sealed makes sure that a tree is the one that was kept, and as it was.
func (r *reading) sealed(tree *rootfs.Tree) error {
	id, err := tree.Identity()
	if err == nil && id != *r.Root {
		return damaged("its snapshot is another: %v", id)
	}
	if err != nil {
		return err
	}
	seal, err := tree.Seal()
	if err != nil || seal != *r.Seal {
		return damaged("its snapshot was changed since it was made")
	}
	return nil
}

// extract makes root of the entry's archive. Whatever fails, the archive is read
// to its end: only its digest tells whether that was its own fault.
func (r *reading) extract(ctx context.Context, root string) error {
	f, err := openFile(r.dir, blobFile)
	if err != nil {
		return damaged("%v", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != r.Blob.Size {
		return damaged("its archive has another size than it had")
	}
	if err := rootfs.MakeRoot(root); err != nil {
		return err
	}
	sum := sha256.New()
	err = unpack(ctx, io.TeeReader(f, sum), root, r.Blob.Stream)
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), discardRoot(ctx, root))
	}
	if _, rest := io.Copy(sum, f); rest != nil || hex.EncodeToString(sum.Sum(nil)) != r.Blob.SHA256 {
		err = damaged("its archive is not what was written")
	}
	if err != nil {
		return errors.Join(err, discardRoot(ctx, root))
	}
	return nil
}

// unpack extracts a compressed archive of that many bytes.
func unpack(ctx context.Context, r io.Reader, root string, size int64) error {
	plain, err := archive.Decompress(r, archive.Zstd)
	if err != nil {
		return err
	}
	err = archive.Extract(ctx, plain, root, archive.ExtractOptions{MaxBytes: size + 1})
	return errors.Join(err, plain.Close())
}

// discardRoot removes a tree of ours that is not to be used.
func discardRoot(ctx context.Context, root string) error {
	tree, err := rootfs.Open(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	id, err := tree.Identity()
	if err = errors.Join(err, tree.Close()); err != nil {
		return err
	}
	return rootfs.RemoveTree(context.WithoutCancel(ctx), root, id)
}
