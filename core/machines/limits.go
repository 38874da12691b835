package machines

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Bounded is what bounds a machine at one moment.
type Bounded struct {
	Limits spec.Limits // of the record
	driver.Bounds
	// Unenforced are the limits that this host cannot keep, each with the
	// reason.
	Unenforced []string
}

// NotHeld are all of the limits that do not hold, each with the reason.
func (b Bounded) NotHeld() []string {
	return slices.Concat(b.Unenforced, b.Bounds.NotHeld())
}

// Bounds says what bounds a machine now.
func (h *House) Bounds(ctx context.Context, m store.Machine) (Bounded, error) {
	b := Bounded{Limits: m.Spec.Limits}
	d, err := h.driverOf(m.Driver)
	if err != nil {
		return b, err
	}
	b.Unenforced = d.Unenforced(bootMachine(m))
	b.Bounds, err = d.Limits(ctx, bootMachine(m))
	return b, err
}

// warnOfLimits says which limits this host cannot keep, and which others were
// set beside us.
func (h *House) warnOfLimits(ctx context.Context, m store.Machine) {
	b, err := h.Bounds(ctx, m)
	if err != nil {
		return // the stage will say so
	}
	warn := func(text, hint string) {
		h.Tell(pipeline.Event{Stage: stages.NameLimits, Kind: pipeline.Warning, Text: text, Hint: hint})
	}
	for _, reason := range b.Unenforced {
		warn("not enforced on this host: "+reason, "")
	}
	for _, o := range b.Outranked {
		warn("set by something else: "+o.String(), "remove that file and run systemctl daemon-reload, if it is not wanted")
	}
}

// Limited is what SetLimits did.
type Limited struct {
	Machine       store.Machine
	Before, After Bounded
	Running       bool
	Changed       bool // the record, the host's files or the running machine
}

// SetLimits changes the limits of a machine: on record, so that it keeps them,
// and in the kernel where it runs. What was cut off is made good by doing it
// again.
func (h *House) SetLimits(ctx context.Context, name string, change func(*spec.Limits)) (out Limited, err error) {
	err = h.withMachine(name, func(rec *store.Record) error {
		if !rec.Machine().Complete {
			return fmt.Errorf("%s: %w", name, ErrIncomplete)
		}
		wanted := rec.Machine()
		if err := wanted.Spec.SetLimits(change); err != nil {
			return err
		}
		if out.Before, err = h.Bounds(ctx, rec.Machine()); err != nil {
			return err
		}
		// What is in the way is found before anything is touched.
		if err := h.limit(h.Store.NewRecord(wanted), func(s pipeline.Stage) error {
			changes, err := s.Check(ctx)
			out.Changed = wanted.Spec.Limits != rec.Machine().Spec.Limits || len(changes) > 0
			return err
		}); err != nil {
			return err
		}
		if out.Changed {
			if err := rec.Update(func(m *store.Machine) { m.Spec.Limits = wanted.Spec.Limits }); err != nil {
				return err
			}
			if err := h.limit(rec, func(s pipeline.Stage) error {
				runner := pipeline.Runner{Stages: h.decorate([]pipeline.Stage{s}, nil)}
				_, err := runner.Run(ctx)
				return err
			}); err != nil {
				return err
			}
		}
		return h.readBack(ctx, rec.Machine(), &out)
	})
	return out, err
}

// limit does something with the stage that limits a machine.
func (h *House) limit(rec *store.Record, do func(pipeline.Stage) error) error {
	all, err := h.assemble(rec, nil)
	if err != nil {
		return err
	}
	all.Limits.Tell = func(pipeline.Event) {} // what is not held is part of the result
	return do(all.Limits)
}

func (h *House) readBack(ctx context.Context, m store.Machine, out *Limited) error {
	out.Machine = m
	d, err := h.driverOf(m.Driver)
	if err != nil {
		return err
	}
	status, err := d.Status(ctx, m.Name)
	out.Running = status.State == driver.Running
	after, boundsErr := h.Bounds(ctx, m)
	out.After = after
	return errors.Join(err, boundsErr)
}
