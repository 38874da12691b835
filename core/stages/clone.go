package stages

import (
	"context"
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// FromClone is a tree that is copied from another machine's.
type FromClone struct {
	Origin store.Machine // whose lock is held
	// InUse says that the origin runs: then a snapshot is made, or it is held
	// still meanwhile.
	InUse bool
	// HoldStill keeps the origin from changing anything until release is
	// called; nil when only a snapshot will do.
	HoldStill func(ctx context.Context) (release func() error, err error)
	// Done is called when the origin is not needed any more.
	Done func() error
	Tell pipeline.Observer
}

// Detail is the origin.
func (c *FromClone) Detail() string { return "clone of " + c.Origin.Name }

// Make copies the tree and gives the copy an identity of its own.
func (c *FromClone) Make(ctx context.Context, of *store.Record, root, _ string) (sdk.Facts, error) {
	if c.Origin.Facts == nil {
		return sdk.Facts{}, fmt.Errorf("the record of %s lacks what the plugin reported", c.Origin.Name)
	}
	way, err := c.copyTree(ctx, root)
	if err = errors.Join(err, c.Done()); err != nil {
		return sdk.Facts{}, err
	}
	tree, err := rootfs.Open(root)
	if err != nil {
		return sdk.Facts{}, err
	}
	c.Tell(pipeline.Event{Stage: NameBootstrap, Kind: pipeline.Progress, Text: "give it an identity of its own"})
	err = changeIdentity(ctx, tree, c.Origin, of.Machine())
	if err = errors.Join(err, tree.Close()); err != nil {
		return sdk.Facts{}, fmt.Errorf("giving the clone an identity of its own: %w", err)
	}
	err = of.Update(func(m *store.Machine) {
		clone := *m.Clone
		clone.Way = way
		m.Clone = &clone
	})
	return *c.Origin.Facts, err
}

func (c *FromClone) copyTree(ctx context.Context, root string) (_ rootfs.Way, err error) {
	tree, err := TreeOf(c.Origin)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	inUse := c.InUse
	if inUse && c.HoldStill != nil && !tree.Snapshots(root) {
		c.Tell(pipeline.Event{Stage: NameBootstrap, Kind: pipeline.Progress, Text: "hold " + c.Origin.Name + " still"})
		var release func() error
		if release, err = c.HoldStill(ctx); err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, release()) }()
		inUse = false
	}
	c.Tell(pipeline.Event{Stage: NameBootstrap, Kind: pipeline.Progress, Text: "copy"})
	return tree.Clone(ctx, root, rootfs.CloneOptions{
		Leave: memories, InUse: inUse,
		Progress: func(files uint64) {
			c.Tell(pipeline.Event{Stage: NameBootstrap, Kind: pipeline.Progress, Done: files, Item: "files"})
		},
	})
}
