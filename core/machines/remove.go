package machines

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Remove stops a machine and forgets it: what making it made on this host goes,
// but not its tree. That stays where it is, and from here on is its owner's; the
// path is returned.
func (h *House) Remove(ctx context.Context, name string) (tree string, err error) {
	err = h.withMachine(name, func(rec *store.Record) error {
		m := rec.Machine()
		if !m.Complete {
			return fmt.Errorf("%s: %w", name, ErrIncomplete)
		}
		all, err := h.assemble(rec, nil)
		if err != nil {
			return err
		}
		order := slices.DeleteFunc(all.Order(), func(s pipeline.Stage) bool { return s.Name() == stages.NameBootstrap })
		runner := pipeline.Runner{Stages: h.decorate(order, h.Store.Journal(name)), UndoTimeout: undoTimeout}
		if err := runner.UndoAll(ctx); err != nil {
			return fmt.Errorf("removing %s: %w", name, err)
		}
		tree = m.Tree.Path
		if err := h.disown(ctx, filepath.Dir(tree)); err != nil {
			return fmt.Errorf("removing %s: %w", name, err)
		}
		return h.forget(ctx, name)
	})
	return tree, err
}

// disown keeps a directory and those that it is in from being removed with the
// last machine: something of their owner's is in them now.
func (h *House) disown(ctx context.Context, dir string) error {
	var all []string
	for d := dir; d != "/"; d = filepath.Dir(d) {
		all = append(all, d)
	}
	return h.exclusive(context.WithoutCancel(ctx), func() error { return h.Files.Unnote(all...) })
}
