package machines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// View is a machine as one sees it now.
type View struct {
	Machine store.Machine
	Status  driver.Status
	// Problem is why the status could not be told; empty when it could.
	Problem string
}

// Get returns one machine.
func (h *House) Get(ctx context.Context, name string) (View, error) {
	m, err := h.Store.Load(name)
	if err != nil {
		return View{}, err
	}
	return h.view(ctx, m), nil
}

// List returns all machines, sorted by name. Records that cannot be read are
// joined in the error, beside those that can.
func (h *House) List(ctx context.Context) ([]View, error) {
	all, err := h.Store.List()
	views := make([]View, 0, len(all))
	for _, m := range all {
		views = append(views, h.view(ctx, m))
	}
	return views, err
}

func (h *House) view(ctx context.Context, m store.Machine) View {
	v := View{Machine: m}
	d, err := h.driverOf(m.Driver)
	if err == nil {
		v.Status, err = d.Status(ctx, m.Name)
	}
	if err != nil {
		v.Problem = err.Error()
	}
	return v
}

// ErrIncomplete says that making a machine was interrupted.
var ErrIncomplete = errors.New("making it was interrupted")

// Start boots a machine and proves that one can log in.
func (h *House) Start(ctx context.Context, name string, timeout time.Duration) (changed bool, err error) {
	err = h.withMachine(name, func(rec *store.Record) error {
		changed, err = h.boot(ctx, rec, timeout, func(b *stages.Boot) pipeline.Stage { return b })
		return err
	})
	return changed, err
}

// boot runs the stage that boots a machine, in the form that as gives it.
func (h *House) boot(ctx context.Context, rec *store.Record, timeout time.Duration, as func(*stages.Boot) pipeline.Stage) (changed bool, err error) {
	if !rec.Machine().Complete {
		return false, fmt.Errorf("%s: %w", rec.Machine().Name, ErrIncomplete)
	}
	all, err := h.assemble(rec, nil)
	if err != nil {
		return false, err
	}
	all.Boot.Timeout = timeout
	order, err := h.settled(ctx, all.Settings, as(all.Boot))
	if err != nil {
		return false, err
	}
	runner := pipeline.Runner{Stages: h.decorate(order, nil)}
	err = h.lookingRound(rec.Machine(), func() error {
		results, err := runner.Run(ctx)
		changed = len(results) == len(order) && results[len(order)-1].Changed
		return err
	})
	return changed, err
}

// settled is what boots a machine, after what puts its settings back where they
// are lost.
func (h *House) settled(ctx context.Context, settings *stages.Settings, boot pipeline.Stage) ([]pipeline.Stage, error) {
	if changes, err := boot.Check(ctx); err != nil || len(changes) == 0 {
		return []pipeline.Stage{boot}, nil //nolint:nilerr // it says so itself
	}
	lost, err := settings.Lost()
	if err != nil || !lost {
		return []pipeline.Stage{boot}, err
	}
	h.Tell(pipeline.Event{
		Stage: stages.NameSettings, Kind: pipeline.Warning,
		Text: "the settings of " + settings.Record.Machine().Name + " were removed or changed: they are put back",
	})
	return []pipeline.Stage{settings, boot}, nil
}

// Stop powers a machine off; when grace is over it is ended by force, at once
// when there is none.
func (h *House) Stop(ctx context.Context, name string, grace time.Duration) (changed bool, err error) {
	err = h.withMachine(name, func(rec *store.Record) error {
		changed, err = h.stop(ctx, rec.Machine(), grace)
		return err
	})
	return changed, err
}

func (h *House) stop(ctx context.Context, m store.Machine, grace time.Duration) (changed bool, err error) {
	d, err := h.driverOf(m.Driver)
	if err != nil {
		return false, err
	}
	status, err := d.Status(ctx, m.Name)
	if err != nil {
		return false, err
	}
	return status.State == driver.Running, d.Stop(ctx, bootMachine(m), grace)
}

// Destroy stops a machine and removes everything that making it made.
func (h *House) Destroy(ctx context.Context, name string) error {
	return h.destroy(ctx, name, func(store.Machine) bool { return true })
}

func (h *House) destroy(ctx context.Context, name string, meant func(store.Machine) bool) error {
	// A run that was killed before it had a record may have asked a plugin.
	h.Plugins.Sweep()
	return h.withMachine(name, func(rec *store.Record) error {
		if !meant(rec.Machine()) {
			return nil
		}
		all, err := h.assemble(rec, nil)
		if err != nil {
			return err
		}
		runner := pipeline.Runner{Stages: h.decorate(all.Order(), h.Store.Journal(name)), UndoTimeout: undoTimeout}
		if err := runner.UndoAll(ctx); err != nil {
			return fmt.Errorf("destroying %s: %w", name, err)
		}
		if clone := rec.Machine().Clone; clone != nil {
			if err := h.sweepLock(clone.Of); err != nil {
				return err
			}
		}
		return h.forget(ctx, name)
	})
}

// Console returns the last lines that a machine printed while it booted.
func (h *House) Console(ctx context.Context, name string, lines int) ([]string, error) {
	m, err := h.Store.Load(name)
	if err != nil {
		return nil, err
	}
	d, err := h.driverOf(m.Driver)
	if err != nil {
		return nil, err
	}
	return d.Console(ctx, name, lines)
}
