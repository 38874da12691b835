package machines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Choice says which machines are meant. Its zero value means all of them; what
// is given must all hold.
type Choice struct {
	Labels []spec.Selector
	// Expired asks for those whose time was over at that moment.
	Expired time.Time
}

// Holds reports whether m is one of those that are meant.
func (c Choice) Holds(m store.Machine) bool {
	for _, l := range c.Labels {
		if !l.Matches(m.Spec.Labels) {
			return false
		}
	}
	return c.Expired.IsZero() || m.Expired(c.Expired)
}

// Chosen names the machines that are meant, sorted. Records that cannot be read
// are joined in the error, beside the others.
func (h *House) Chosen(c Choice) ([]string, error) {
	all, err := h.Store.List()
	var names []string
	for _, m := range all {
		if c.Holds(m) {
			names = append(names, m.Name)
		}
	}
	return names, err
}

// AtOnce is how many machines are worked on at the same time: stopping one is
// mostly waiting.
const AtOnce = 8

// Each does something with each machine, some at a time, and returns what came of
// it in the order of the names, with nil for an error where there was none. One
// that fails does not keep the others. When ctx ends, those that were not begun
// fail with its cause.
func Each[T any](ctx context.Context, names []string, do func(ctx context.Context, name string) (T, error)) ([]T, []error) {
	results, errs := make([]T, len(names)), make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(AtOnce)
	for i, name := range names {
		group.Go(func() error {
			if errs[i] = over(ctx, name); errs[i] == nil {
				results[i], errs[i] = do(ctx, name)
			}
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	return results, errs
}

// over is the error of what is not begun any more because ctx has ended.
func over(ctx context.Context, name string) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, context.Cause(ctx))
}

// DestroyChosen destroys a machine if it is, now that nobody else works on it,
// still one of those that are meant. One that is no longer there is no error.
func (h *House) DestroyChosen(ctx context.Context, name string, c Choice) (destroyed bool, err error) {
	err = h.destroy(ctx, name, func(m store.Machine) bool {
		destroyed = c.Holds(m)
		return destroyed
	})
	if errors.Is(err, store.ErrNoMachine) {
		return false, nil
	}
	return destroyed && err == nil, err
}
