package stages

import (
	"context"
	"os"
	"slices"
)

// Retract takes off this host what the machine had there and next does not
// have, and leaves the rest where it is: a link that is up is not disturbed.
// What is to be there, next applies.
func (n *Network) Retract(ctx context.Context, next *Network) error {
	return n.Exclusive(ctx, func() error {
		had, err := n.ownFiles(n.Record.Machine())
		if err != nil {
			return err
		}
		keeps, err := next.ownFiles(next.Record.Machine())
		if err != nil {
			return err
		}
		gone := false
		for _, f := range had {
			if slices.ContainsFunc(keeps, func(k hostFile) bool { return k.path == f.path }) {
				continue
			}
			_, statErr := os.Lstat(f.path)
			gone = gone || statErr == nil
			if err := unlessForeign(n.Files.Remove(f.path, f.ours)); err != nil {
				return err
			}
		}
		if !next.Record.Machine().Spec.Network.Alias {
			if err := n.removeAlias(); err != nil {
				return err
			}
		}
		return n.reload(ctx, gone)
	})
}

// LinkFields are what of a machine's link can change while it is up, by their
// keys in a spec file.
var LinkFields = []string{"network.publish", "network.egress"}
