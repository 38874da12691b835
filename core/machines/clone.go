package machines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/still"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Cloning is what Clone is asked for.
type Cloning struct {
	Origin string
	// Input is what the clone is to have other than its origin; see spec.Derive.
	Input  spec.Input
	Run    spec.Run
	Secret spec.Secret // as Input's kind of password says
	// Live says that an origin that runs may be held still for as long as its
	// tree is copied, where no snapshot can be made.
	Live bool
}

// RunsError says that a machine runs and must not, or not unless it is said
// that it may be held still.
type RunsError struct{ Name string }

func (e *RunsError) Error() string {
	return fmt.Sprintf("machine %s runs, and its tree cannot be cloned as it is at one moment", e.Name)
}

// Hint says what would do.
func (e *RunsError) Hint() string {
	return fmt.Sprintf("stop it: nspawn-build stop %s; or add --live, which holds it still while it is copied", e.Name)
}

// Clone makes a machine out of another one: of its tree as it is now, with an
// identity of its own. It is a run like that of Create, and is continued by the
// same call, or by Create to resume. A clone that is there is left alone.
func (h *House) Clone(ctx context.Context, c Cloning) (Outcome, error) {
	w, err := h.cloning(c)
	if err != nil {
		return Outcome{}, err
	}
	return h.Create(ctx, w)
}

// PlanClone says what Clone would do, and touches nothing.
func (h *House) PlanClone(ctx context.Context, c Cloning) (Outlook, error) {
	w, err := h.cloning(c)
	if err != nil {
		return Outlook{}, err
	}
	return h.Plan(ctx, w)
}

// cloning turns what was asked for into a spec.
func (h *House) cloning(c Cloning) (Wanted, error) {
	if c.Origin == c.Input.Name {
		return Wanted{}, spec.Invalid{{Field: "name", Value: c.Origin, Problem: "is the machine that is to be cloned", Hint: "choose another name for the clone"}}
	}
	// The name is looked at first: what else is asked of is the origin's.
	if _, e := spec.ParseName(c.Input.Name); e != nil {
		return Wanted{}, spec.Invalid{e}
	}
	origin, err := h.Store.Load(c.Origin)
	if err != nil {
		return Wanted{}, err
	}
	s, err := spec.Derive(origin.Spec, c.Input)
	if err != nil {
		return Wanted{}, err
	}
	w := Wanted{Spec: s, Run: c.Run, Secret: c.Secret, clone: &store.Clone{
		Of: origin.Name, Made: origin.Created, Live: c.Live,
		NewPassword: c.Input.Password != spec.PasswordLocked, NewKeys: len(c.Input.SSHKeys) > 0,
	}}
	if !w.clone.NewKeys {
		w.InvokerKeys = origin.AuthorizedKeys // those of whoever made the origin
	}
	if dropped := origin.Spec.Network.Publish; len(dropped) > 0 && len(s.Network.Publish) == 0 {
		words := make([]string, len(dropped))
		for i, p := range dropped {
			words[i] = p.String()
		}
		h.Tell(pipeline.Event{
			Stage: stages.NameNetwork, Kind: pipeline.Warning,
			Text: "ports of this host that " + origin.Name + " has are not the clone's: " + strings.Join(words, ", "),
			Hint: "give it others with --publish HOST:MACHINE",
		})
	}
	return w, nil
}

// otherOrigin says so when a machine that is there is no clone of the machine
// that is to be cloned.
func otherOrigin(m store.Machine, w Wanted) error {
	origin := func(c *store.Clone) string {
		if c == nil {
			return ""
		}
		return c.Of + ", made " + c.Made.Format(time.RFC3339Nano)
	}
	if w.clone == nil || origin(m.Clone) == origin(w.clone) {
		return nil
	}
	return &ExistsError{Name: m.Name, Half: !m.Complete, Differences: []spec.Difference{
		{Field: "clone of", Before: origin(m.Clone), After: origin(w.clone)},
	}}
}

// askOrigin takes the lock of the machine that rec is a clone of, and makes
// sure that it can be copied. Others may copy it at the same time.
func (h *House) askOrigin(ctx context.Context, rec *store.Record, w Wanted, made *making) error {
	clone := rec.Machine().Clone
	if t := rec.Machine().Tree; t.Root != (rootfs.Identity{}) && t.Staging == "" {
		return h.sweepLock(clone.Of) // copied already: whatever became of the origin
	}
	lock, err := h.Store.LockShared(clone.Of)
	if err != nil {
		return err
	}
	release := sync.OnceValue(lock.Release)
	live := clone.Live || w.clone != nil && w.clone.Live
	origin, err := h.origin(ctx, rec, live, release)
	if err != nil {
		return errors.Join(err, release())
	}
	made.origin, made.done = origin, release
	return nil
}

// sweepLock removes the file of a machine's lock that a run which was killed
// while it read of the machine left behind.
func (h *House) sweepLock(name string) error {
	lock, err := h.Store.LockShared(name)
	if errors.Is(err, store.ErrLocked) {
		return nil // whoever has it removes it
	}
	if err != nil {
		return err
	}
	return lock.Release()
}

func (h *House) origin(ctx context.Context, rec *store.Record, live bool, done func() error) (*stages.FromClone, error) {
	clone := rec.Machine().Clone
	m, err := h.Store.Load(clone.Of)
	if err != nil {
		return nil, err
	}
	if !m.Created.Equal(clone.Made) {
		return nil, fmt.Errorf("%s was destroyed and made again since its clone was begun: %w", m.Name, store.ErrNoMachine)
	}
	if !m.Complete {
		return nil, fmt.Errorf("%s: %w", m.Name, ErrIncomplete)
	}
	d, err := h.driverOf(m.Driver)
	if err != nil {
		return nil, err
	}
	status, err := d.Status(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	from := &stages.FromClone{Origin: m, InUse: status.State == driver.Running, Done: done, Tell: h.Tell}
	if !from.InUse {
		return from, nil
	}
	if live {
		from.HoldStill = func(ctx context.Context) (func() error, error) { return still.Hold(ctx, status.Leader) }
		return from, nil
	}
	tree, err := stages.TreeOf(m)
	if err != nil {
		return nil, err
	}
	snapshot := tree.Snapshots(rec.Machine().Spec.Directory)
	if err := tree.Close(); err != nil {
		return nil, err
	}
	if !snapshot {
		return nil, &RunsError{m.Name}
	}
	return from, nil
}
