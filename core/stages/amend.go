package stages

import (
	"slices"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
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
