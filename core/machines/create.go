package machines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nspawn-build/nspawn-build/core/customize"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Wanted is what Create and Plan are asked for.
type Wanted struct {
	Spec spec.Spec
	Run  spec.Run
	// Secret is the password or its hash, as the spec's kind of password says.
	Secret spec.Secret
	// InvokerKeys are the keys of the invoking user, for a spec that asks for
	// them.
	InvokerKeys []string
	// Apply has a machine that exists and differs from the spec changed, where
	// that can be done without making it anew.
	Apply bool
	// Restart boots a machine anew that has changes waiting for it, after it
	// had Grace to power off.
	Restart bool
	Grace   time.Duration

	clone *store.Clone // set by Clone
}

// Outcome is what Create did.
type Outcome struct {
	Machine store.Machine
	Results []pipeline.Result
	// Changed is false when the machine was there already, and so.
	Changed bool
	// PasswordSet says that the password of this run is the machine's.
	PasswordSet bool
	// Applied is what was asked for differently before.
	Applied []spec.Difference
	// Waiting names what takes a boot of the machine to have, by the keys of a
	// spec file.
	Waiting   []string
	Restarted bool
}

// undoTimeout bounds what is taken back after a failure: stopping a machine
// and removing its tree.
const undoTimeout = 2 * time.Minute

// making is what the stages need only while a machine is made.
type making struct {
	run    spec.Run
	secret spec.Secret
	origin stages.Origin // nil when the tree is there
	done   func() error  // releases what origin holds

	// Of a machine that is amended.
	before      store.Machine
	differences []spec.Difference
}

// Create makes a machine, continues one that was interrupted, or brings one
// that is there back to what its spec says. Nothing is touched before every
// stage has looked and found nothing in its way.
func (h *House) Create(ctx context.Context, w Wanted) (out Outcome, err error) {
	kind, err := h.ready(ctx, &w.Spec)
	if err != nil {
		return Outcome{}, err
	}
	lock, err := h.Store.Lock(w.Spec.Name)
	if err != nil {
		return Outcome{}, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	rec, made, err := h.prepare(ctx, &w, kind)
	if err != nil {
		return Outcome{}, err
	}
	defer func() { err = errors.Join(err, made.done()) }()
	journal := h.Store.Journal(w.Spec.Name)
	all, err := h.assemble(rec, made)
	if err != nil {
		return Outcome{}, err
	}
	// A look at everything first: what is in the way is found before anything
	// is touched.
	look := pipeline.Runner{Stages: all.Order()}
	plan, err := look.Plan(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if rec.Machine().Complete {
		if err := passwordDiffers(rec.Machine(), plan); err != nil {
			return Outcome{}, err
		}
		if !anyChange(plan) && len(made.differences) == 0 {
			return h.finish(ctx, rec, w, Outcome{Machine: rec.Machine()})
		}
	}
	if len(made.differences) > 0 {
		err = h.settle(ctx, rec, made, journal)
	} else {
		rec, err = h.reserve(ctx, rec)
	}
	if err != nil {
		return Outcome{}, err
	}
	if all, err = h.assemble(rec, made); err != nil {
		return Outcome{}, err
	}
	h.warnOfLimits(ctx, rec.Machine())
	h.caution(rec.Machine().Spec)
	err = h.lookingRound(rec.Machine(), func() (err error) {
		out, err = h.run(ctx, rec, w, h.decorate(all.Order(), journal), journal)
		return err
	})
	if err != nil {
		return out, err
	}
	if out.Applied = made.differences; len(out.Applied) > 0 {
		if err := journal.Record(amendEntry, pipeline.Done); err != nil {
			return out, err
		}
	}
	return h.finish(ctx, rec, w, out)
}

// run runs the stages and settles the record by how that ends.
func (h *House) run(ctx context.Context, rec *store.Record, w Wanted, order []pipeline.Stage, journal *store.Journal) (Outcome, error) {
	runner := pipeline.Runner{Stages: order, UndoTimeout: undoTimeout}
	if !rec.Machine().Complete {
		begun, err := journal.Begun()
		if err != nil {
			return Outcome{}, err
		}
		runner.Begun, runner.Undo = begun, !w.Run.Keep
	}
	results, err := runner.Run(ctx)
	if err != nil {
		var failed *pipeline.Error
		if errors.As(err, &failed) && failed.Undone {
			err = errors.Join(err, h.forget(ctx, rec.Machine().Name))
		}
		return Outcome{Results: results}, err
	}
	passwordSet := !rec.Machine().Complete && !w.Secret.Empty()
	if !rec.Machine().Complete {
		if err := rec.Update(func(m *store.Machine) { m.Complete = true }); err != nil {
			return Outcome{}, err
		}
	}
	return Outcome{Machine: rec.Machine(), Results: results, Changed: true, PasswordSet: passwordSet}, nil
}

// forget removes the record of a machine of which nothing else is left, and
// what sessions of plugins left that were killed amid making it.
func (h *House) forget(ctx context.Context, name string) error {
	h.Plugins.Sweep()
	return h.exclusive(context.WithoutCancel(ctx), func() error { return h.Store.Forget(name) })
}

// Outlook is what Create would do.
type Outlook struct {
	Machine store.Machine
	Stages  []pipeline.Planned
	// Differences are those between a machine that exists and what is wanted.
	Differences []spec.Difference
}

// Plan says what Create would do, and touches nothing.
func (h *House) Plan(ctx context.Context, w Wanted) (_ Outlook, err error) {
	kind, err := h.ready(ctx, &w.Spec)
	if err != nil {
		return Outlook{}, err
	}
	rec, made, err := h.prepare(ctx, &w, kind)
	if err != nil {
		return Outlook{}, err
	}
	defer func() { err = errors.Join(err, made.done()) }()
	all, err := h.assemble(rec, made)
	if err != nil {
		return Outlook{}, err
	}
	runner := pipeline.Runner{Stages: all.Order()}
	plan, err := runner.Plan(ctx)
	if err == nil && rec.Machine().Complete {
		err = passwordDiffers(rec.Machine(), plan)
	}
	return Outlook{rec.Machine(), plan, made.differences}, err
}

// prepare finds the record of the machine or drafts one, and asks the plugin
// what it makes of the request. Nothing is written.
func (h *House) prepare(ctx context.Context, w *Wanted, kind spec.Driver) (*store.Record, *making, error) {
	made := &making{run: w.Run, secret: w.Secret, done: func() error { return nil }}
	var taken []spec.Taken
	if w.clone == nil { // whose origin has it all
		var err error
		if taken, err = customize.Sources(w.Spec.Customize); err != nil {
			return nil, nil, err
		}
	}
	rec, err := h.Store.Open(w.Spec.Name)
	fresh := errors.Is(err, store.ErrNoMachine)
	switch {
	case fresh && w.Run.Resume:
		return nil, nil, fmt.Errorf("there is nothing to resume: %w", err)
	case err != nil && !fresh:
		return nil, nil, err
	case !fresh && w.Run.Resume && w.Spec.Distro == "":
		w.Spec = rec.Machine().Spec
	case !fresh:
		if err := otherOrigin(rec.Machine(), *w); err != nil {
			return nil, nil, err
		}
		if err := takenElse(rec.Machine(), *w, taken); err != nil {
			return nil, nil, err
		}
		if rec, err = h.amend(ctx, rec, *w, made); err != nil {
			return nil, nil, err
		}
	}
	if !fresh && rec.Machine().Complete {
		// The tree is there; nobody needs the plugin any more.
		if w.Spec.Access.Password == spec.PasswordGenerated {
			made.secret = spec.Secret{}
		}
		return rec, made, nil
	}
	if kind := w.Spec.Access.Password; fresh && w.clone == nil && w.Secret.Empty() && (kind == spec.PasswordGiven || kind == spec.PasswordHash) {
		return nil, nil, stages.ErrPasswordNeeded
	}
	if fresh {
		if rec, err = h.draft(*w, kind); err != nil {
			return nil, nil, err
		}
		m := rec.Machine()
		m.Customized.Taken = taken
		rec = h.Store.NewRecord(m)
	}
	if rec.Machine().Clone != nil {
		err = h.askOrigin(ctx, rec, *w, made)
	} else {
		err = h.inTurn(ctx, func() error {
			asked, err := h.Ask(ctx, w.Spec, Beyond{})
			made.origin = asked.Origin
			return err
		})
	}
	if err != nil || !fresh {
		return rec, made, err
	}
	if rec, err = h.reachable(ctx, rec); err != nil {
		return nil, nil, errors.Join(err, made.done())
	}
	return rec, made, err
}

// passwordDiffers says so when a password was given that is not the one of a
// machine that is complete: only its user changes it from here on.
func passwordDiffers(m store.Machine, plan []pipeline.Planned) error {
	for _, p := range plan {
		if p.Stage == stages.NamePassword && len(p.Changes) > 0 {
			return &ExistsError{Name: m.Name, Differences: []spec.Difference{
				{Field: "access.password", Before: "as it is set in the machine", After: "another"},
			}}
		}
	}
	return nil
}

func anyChange(plan []pipeline.Planned) bool {
	for _, p := range plan {
		if len(p.Changes) > 0 {
			return true
		}
	}
	return false
}
