package stages

import (
	"context"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// What a machine that is complete is no longer asked for is taken back here,
// while its record still says it: a run that is cut off does it again.

// Amend changes the keys that the machine lets in from those that old was made
// with to those of next. What its user did there stays.
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

// Amend removes what the host's resolver was told for a machine that is not to
// ask it any more.
func (n *Network) Amend(ctx context.Context, next store.Machine) error {
	m := n.Record.Machine()
	if !n.usesStub() || next.Spec.Network.DNS.Mode == spec.DNSHost {
		return nil
	}
	return n.Exclusive(ctx, func() error {
		ours := func(c []byte) bool { return unitfile.Made(c, m.Name) }
		if err := unlessForeign(n.Files.Remove(resolvedPath(m.Name), ours)); err != nil {
			return err
		}
		return n.ReloadResolver(ctx)
	})
}
