package machines

import (
	"context"
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/transfer"
)

// Transfer does something with the end of a transfer that is in a machine: in
// what the machine sees when it runs, else in its tree, which nobody can boot
// meanwhile.
func (h *House) Transfer(ctx context.Context, name string, do func(transfer.Machine) error) error {
	v, err := h.Get(ctx, name)
	if err != nil {
		return err
	}
	if v.Problem != "" {
		return fmt.Errorf("%s: %s", name, v.Problem)
	}
	if v.Status.State == driver.Running {
		return do(transfer.Running(v.Status.Leader))
	}
	return h.withMachine(name, func(rec *store.Record) error {
		if !rec.Machine().Complete {
			return fmt.Errorf("%s: %w", name, ErrIncomplete)
		}
		tree, err := stages.OpenTree(rec)
		if err != nil {
			return err
		}
		end, err := transfer.Stopped(tree.Root())
		if err == nil {
			err = do(end)
		}
		return errors.Join(err, tree.Close())
	})
}
