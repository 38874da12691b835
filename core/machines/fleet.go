package machines

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/stages"
)

// ErrStopped says that a machine was not finished because another one failed.
var ErrStopped = errors.New("stopped, for another machine failed")

// Fleet says how to go about making several machines.
type Fleet struct {
	// Bootstraps is how many are bootstrapped at once. What comes after that is
	// mostly waiting, and waits for nobody.
	Bootstraps int
	// FailFast ends the others when one fails.
	FailFast bool
}

// WarnOfMany says when so many machines may be more than the host takes. Those
// that exist count: they may run, too.
func (h *House) WarnOfMany(names []string) {
	all := map[string]bool{}
	for _, n := range names {
		all[n] = true
	}
	records, _ := h.Store.List() // what cannot be read is said where it matters
	for _, m := range records {
		all[m.Name] = true
	}
	if problem := host.InotifyShort(len(all)); problem != "" {
		h.Tell(pipeline.Event{Stage: stages.NameBoot, Kind: pipeline.Warning, Text: problem, Hint: host.InotifyHint})
	}
}

// Make runs do for each of several machines at once, with a house of its own,
// and returns what came of it in their order, with nil for an error where there
// was none. One that fails does not keep the others unless that is wished. When
// ctx ends they all end, in an orderly way.
func Make[T any](ctx context.Context, h *House, names []string, f Fleet, do func(ctx context.Context, h *House, i int) (T, error)) ([]T, []error) {
	results, errs := make([]T, len(names)), make([]error, len(names))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	turn := pipeline.Turns(max(1, f.Bootstraps))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			own := h.Named(name)
			own.Turn = turn
			if ctx.Err() != nil {
				errs[i] = context.Cause(ctx)
				return
			}
			results[i], errs[i] = do(ctx, own, i)
			switch cause := context.Cause(ctx); {
			case errs[i] == nil:
			case errors.Is(cause, ErrStopped): // whatever it was that heard of it
				errs[i] = errors.Join(cause, errs[i])
			case f.FailFast:
				stop(fmt.Errorf("%w: %s", ErrStopped, name))
			}
		})
	}
	all.Wait()
	return results, errs
}

// Named is the house with the machine's name in all that is told.
func (h *House) Named(name string) *House {
	own, tell := *h, h.Tell
	own.Tell = func(e pipeline.Event) {
		e.Stage = name + " " + e.Stage
		tell(e)
	}
	return &own
}

// inTurn does something costly when it is its turn.
func (h *House) inTurn(ctx context.Context, do func() error) error {
	if h.Turn == nil {
		return do()
	}
	done, err := h.Turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return do()
}
