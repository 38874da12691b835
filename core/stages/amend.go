package stages

import (
	"context"
	"reflect"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Amend changes the keys that the machine lets in from those that old was made
// with to those of next. What its user did there stays. It is done while the
// record still says old: a run that is cut off does it again.
func (p *Password) Amend(old, next []string) error {
	if slices.Equal(old, next) {
		return nil
	}
	return withTree(p.Record, func(tree *rootfs.Tree) error {
		have, err := readKeys(tree)
		if err != nil {
			return err
		}
		want := slices.DeleteFunc(slices.Clone(have), func(k string) bool {
			return slices.Contains(old, k) && !slices.Contains(next, k)
		})
		for _, k := range next {
			if !slices.Contains(want, k) && !slices.Contains(old, k) {
				want = append(want, k)
			}
		}
		if slices.Equal(have, want) {
			return nil
		}
		return writeKeys(tree, want)
	})
}

// Amend makes in the tree what the settings need now and did not need before.
func (s *Settings) Amend(before spec.Storage) error {
	m := s.Record.Machine()
	if reflect.DeepEqual(before, m.Spec.Storage) {
		return nil
	}
	bound, err := s.bindings(m)
	if err != nil {
		return err
	}
	return withTree(s.Record, func(tree *rootfs.Tree) error { return s.prepareTree(tree, m.Spec.Storage, bound) })
}

// Amend takes from the host what next has no word for any more. All else stays
// as it is until next is applied: the machine may run, and is reached by it.
func (n *Network) Amend(ctx context.Context, next *Network) error {
	if n.Record.Machine().Spec.Network.Private {
		return nil // the host has no part in it
	}
	return n.Exclusive(ctx, func() error {
		before, err := n.ownFiles(n.Record.Machine())
		if err != nil {
			return err
		}
		after, err := next.ownFiles(next.Record.Machine())
		if err != nil {
			return err
		}
		changed := false
		for _, f := range before {
			if slices.ContainsFunc(after, func(a hostFile) bool { return a.path == f.path }) {
				continue
			}
			if err := unlessForeign(n.Files.Remove(f.path, f.ours)); err != nil {
				return err
			}
			changed = true
		}
		if n.Record.Machine().Spec.Network.Alias && !next.Record.Machine().Spec.Network.Alias {
			if err := n.removeAlias(); err != nil {
				return err
			}
		}
		return n.reload(ctx, changed)
	})
}
