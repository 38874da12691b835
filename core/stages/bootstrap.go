package stages

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/driver/leftover"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Bootstrap has the tree made in a hidden directory beside its place, and moves
// it into place whole.
type Bootstrap struct {
	Record    *store.Record
	Files     *hostfile.Files
	Exclusive Exclusive
	Origin    Origin // nil on the way out, and for a machine whose tree is made
	Tell      pipeline.Observer
}

// Origin is where the tree of a new machine comes from.
type Origin interface {
	// Detail is said of it in a plan: "debian trixie".
	Detail() string
	// Make makes the directory root, which does not exist yet, with the whole
	// tree of the machine in it, and nothing that must differ between machines.
	// work is an empty directory beside it, which goes when the tree is in its
	// place. A Make that was cut off is not continued: the next one gets new
	// names.
	Make(ctx context.Context, of *store.Record, root, work string) (sdk.Facts, error)
}

// Name is "bootstrap".
func (*Bootstrap) Name() string { return NameBootstrap }

// Check is empty when the tree that we made is in its place.
func (b *Bootstrap) Check(context.Context) ([]pipeline.Change, error) {
	t := b.Record.Machine().Tree
	there, err := b.identify(t.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case there == (rootfs.Identity{}):
	case t.Root == (rootfs.Identity{}) || there != t.Root:
		return nil, fmt.Errorf("%s exists and %w", t.Path, hostfile.ErrForeign)
	case t.Staging == "":
		return nil, nil
	}
	if b.Origin == nil {
		return nil, fmt.Errorf("%s, the tree of a machine that was made, %w", t.Path, errGone)
	}
	return []pipeline.Change{{Action: "create", Subject: t.Path, Detail: b.Origin.Detail()}}, nil
}

// errGone says that somebody removed what we made.
var errGone = errors.New("is not there any more")

// identify returns the identity of what is at path; zero when nothing is.
func (b *Bootstrap) identify(path string) (rootfs.Identity, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return rootfs.Identity{}, nil
	}
	tree, err := rootfs.Open(path)
	if err != nil {
		return rootfs.Identity{}, fmt.Errorf("%s is in the way: %w", path, err)
	}
	id, err := tree.Identity()
	return id, errors.Join(err, tree.Close())
}

// Apply makes the tree, unless a run that was cut off had published it already.
func (b *Bootstrap) Apply(ctx context.Context) error {
	t := b.Record.Machine().Tree
	if there, err := b.identify(t.Path); err != nil {
		return err
	} else if there != (rootfs.Identity{}) && there == t.Root {
		return b.tidy(ctx)
	}
	if err := b.tidy(ctx); err != nil {
		return err
	}
	staging, err := b.stage(ctx)
	if err != nil {
		return err
	}
	root := filepath.Join(staging, "root")
	facts, err := b.Origin.Make(ctx, b.Record, root, filepath.Join(staging, "work"))
	if err != nil {
		return err
	}
	rootID, err := b.identify(root)
	if err != nil {
		return err
	}
	// From here on the tree is known, wherever a crash leaves it.
	if err := b.Record.Update(func(m *store.Machine) { m.Facts, m.Tree.Root = &facts, rootID }); err != nil {
		return err
	}
	b.Tell(pipeline.Event{Stage: b.Name(), Kind: pipeline.Progress, Text: "publish"})
	if err := rootfs.Publish(root, t.Path); err != nil {
		return fmt.Errorf("moving the tree to %s: %w", t.Path, err)
	}
	return b.tidy(ctx)
}

// stage makes the hidden directory. Its random name is on record before it is
// made, its identity before anything but an empty directory is in it.
func (b *Bootstrap) stage(ctx context.Context) (string, error) {
	m := b.Record.Machine()
	parent := filepath.Dir(m.Tree.Path)
	err := b.Exclusive(ctx, func() error { return b.Files.MakeDirectory(parent, 0o700) })
	if err != nil {
		return "", fmt.Errorf("making %s: %w", parent, err)
	}
	staging := filepath.Join(parent, ".nspawn-build-"+m.Name+"-"+rand.Text())
	err = b.Record.Update(func(m *store.Machine) { m.Tree.Staging, m.Facts = staging, nil })
	if err != nil {
		return "", err
	}
	for _, dir := range []string{staging, filepath.Join(staging, "work")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", err
		}
		if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory needs x
			return "", err
		}
	}
	id, err := b.identify(staging)
	if err != nil {
		return "", err
	}
	return staging, b.Record.Update(func(m *store.Machine) { m.Tree.StagingID = id })
}

// tidy removes the hidden directory and forgets it.
func (b *Bootstrap) tidy(ctx context.Context) error {
	t := b.Record.Machine().Tree
	if t.Staging == "" {
		return nil
	}
	there, err := b.identify(t.Path)
	published := err == nil && there != (rootfs.Identity{}) && there == t.Root
	if err := b.remove(ctx, t.Staging, t.StagingID); err != nil {
		return err
	}
	return b.Record.Update(func(m *store.Machine) {
		m.Tree.Staging, m.Tree.StagingID = "", rootfs.Identity{}
		if !published { // it went with the hidden directory
			m.Tree.Root = rootfs.Identity{}
		}
	})
}

// remove removes a directory of ours. One whose identity did not make it into
// the record was never filled: then it is removed only if it is empty.
func (b *Bootstrap) remove(ctx context.Context, path string, id rootfs.Identity) error {
	if id != (rootfs.Identity{}) {
		return rootfs.RemoveTree(ctx, path, id)
	}
	for _, dir := range []string{filepath.Join(path, "work"), path} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Undo removes the tree, wherever it is, and the directory that was made for it.
func (b *Bootstrap) Undo(ctx context.Context) error {
	if err := b.tidy(ctx); err != nil {
		return err
	}
	t := b.Record.Machine().Tree
	if t.Root != (rootfs.Identity{}) {
		if err := rootfs.RemoveTree(ctx, t.Path, t.Root); err != nil {
			return err
		}
		if err := b.Record.Update(func(m *store.Machine) { m.Tree.Root = rootfs.Identity{} }); err != nil {
			return err
		}
	}
	if err := leftover.RemoveLock(t.Path); err != nil {
		return err
	}
	return b.Exclusive(ctx, func() error { return b.Files.Prune(filepath.Dir(t.Path)) })
}
