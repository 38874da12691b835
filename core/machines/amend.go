package machines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// An amendment gives a machine that is complete another spec. What is taken
// away goes first, while the record still says it; then the record says what is
// wanted, in one step; then the stages make it so, as they do after any crash.
// Cut off anywhere, the same command finds what is left to do.

// amendEntry names an amendment in the journal.
const amendEntry = "spec"

// amend finds what differs between a record and what is wanted, and returns the
// record as it is to be. Nothing is written.
func (h *House) amend(ctx context.Context, rec *store.Record, w Wanted, made *making) (*store.Record, error) {
	m := rec.Machine()
	all := spec.Diff(m.Spec, w.Spec)
	if len(all) == 0 {
		return rec, nil
	}
	if !w.Apply || !m.Complete {
		return nil, &ExistsError{Name: m.Name, Differences: all, Half: !m.Complete}
	}
	renew := slices.DeleteFunc(slices.Clone(all), func(d spec.Difference) bool { return d.Change() != spec.ChangeNew })
	if len(renew) > 0 {
		return nil, &ExistsError{Name: m.Name, Differences: renew}
	}
	next := m
	next.Spec, next.Leaving = w.Spec, false
	next.AuthorizedKeys = amendKeys(m, w)
	next.Expires = time.Time{}
	if w.Spec.TTL != 0 {
		next.Expires = m.Created.Add(time.Duration(w.Spec.TTL))
	}
	if slices.ContainsFunc(all, func(d spec.Difference) bool { return d.Key() == "network.dns" }) {
		var err error
		next.DNS, err = stages.ResolveDNS(w.Spec.Network.DNS, host.Uplinks(), m.HostSide.Addr())
		if errors.Is(err, stages.ErrNoUplink) {
			return nil, &HostError{err.Error(), "name a server: --dns ADDRESS, or use the host's resolver: --dns host"}
		}
		if err != nil {
			return nil, err
		}
	}
	if err := h.reachableStill(ctx, m.Spec.Network, &next); err != nil {
		return nil, err
	}
	made.before, made.differences = m, all
	return h.Store.NewRecord(next), nil
}

// amendKeys are the keys that are to be let in: those of the invoking user stay
// what they were when the machine was made.
func amendKeys(m store.Machine, w Wanted) []string {
	keys := slices.Clone(w.Spec.Access.SSHKeys)
	if !w.Spec.Access.InvokerKeys {
		return keys
	}
	theirs := w.InvokerKeys
	if m.Spec.Access.InvokerKeys {
		theirs = slices.DeleteFunc(slices.Clone(m.AuthorizedKeys), func(k string) bool { return slices.Contains(m.Spec.Access.SSHKeys, k) })
	}
	for _, k := range theirs {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// settle puts an amended record on disk, after what is no longer wanted was
// taken back.
func (h *House) settle(ctx context.Context, rec *store.Record, made *making, journal *store.Journal) error {
	next := rec.Machine()
	if err := journal.Record(amendEntry, pipeline.Begin); err != nil {
		return err
	}
	all, err := h.assemble(h.Store.NewRecord(made.before), nil)
	if err != nil {
		return err
	}
	if err := all.Password.Amend(made.before.AuthorizedKeys, next.AuthorizedKeys); err != nil {
		return fmt.Errorf("changing the keys that %s lets in: %w", next.Name, err)
	}
	wanted, err := h.assemble(rec, nil)
	if err != nil {
		return err
	}
	if err := all.Network.Amend(ctx, wanted.Network); err != nil {
		return fmt.Errorf("changing what this host does for %s: %w", next.Name, err)
	}
	if err := wanted.Settings.Amend(made.before.Spec.Storage); err != nil {
		return fmt.Errorf("preparing the tree of %s: %w", next.Name, err)
	}
	if made.before.Spec.Enable && !next.Spec.Enable {
		if err := all.Enable.Undo(ctx); err != nil {
			return fmt.Errorf("disabling %s: %w", next.Name, err)
		}
	}
	waits, err := h.waiting(ctx, made)
	if err != nil {
		return err
	}
	d, err := h.driverOf(next.Driver)
	if err != nil {
		return err
	}
	if d, ok := d.(describer); ok {
		if err := d.Describe(bootMachine(next)); err != nil {
			return fmt.Errorf("changing what %s boots with: %w", next.Name, err)
		}
	}
	// Another run may have given somebody else the same port since.
	return h.exclusive(ctx, func() error {
		all, err := h.Store.List()
		if err != nil {
			return err
		}
		if err := publishedByOthers(&next, all); err != nil {
			return err
		}
		return rec.Update(func(m *store.Machine) { m.Waiting = waits })
	})
}

// describer is a driver that boots a machine which reboots itself with what it
// was told of it before.
type describer interface {
	Describe(m driver.Machine) error
}

// waiting is what will wait for the machine's next boot, with what waits
// already; nil when that is nothing.
func (h *House) waiting(ctx context.Context, made *making) (*store.Waiting, error) {
	status, err := h.statusOf(ctx, made.before)
	if err != nil || status.State != driver.Running {
		return nil, err
	}
	w := &store.Waiting{Leader: status.Leader, Since: status.Since, Fields: waitsFor(made.before, status)}
	for _, d := range made.differences {
		key := d.Key()
		// What is done for the link waits until it is done: see relink.
		waits := d.Change() == spec.ChangeRestart || slices.Contains(stages.LinkFields, key)
		if waits && !slices.Contains(w.Fields, key) {
			w.Fields = append(w.Fields, key)
		}
	}
	if len(w.Fields) == 0 {
		return nil, nil //nolint:nilnil // nothing waits
	}
	return w, nil
}

func (h *House) statusOf(ctx context.Context, m store.Machine) (driver.Status, error) {
	d, err := h.driverOf(m.Driver)
	if err != nil {
		return driver.Status{}, err
	}
	return d.Status(ctx, m.Name)
}

// waitsFor names the fields that were changed since the machine booted and that
// it takes a boot to have, by their keys in a spec file.
func waitsFor(m store.Machine, status driver.Status) []string {
	if m.Waiting == nil || status.State != driver.Running || status.Leader != m.Waiting.Leader {
		return nil
	}
	// The same number may be that of another boot, long after.
	if status.Since.Sub(m.Waiting.Since).Abs() > time.Minute {
		return nil
	}
	return slices.Clone(m.Waiting.Fields)
}

// finish has what can be had at once, says what waits for a boot or, where that is
// wished, boots.
func (h *House) finish(ctx context.Context, rec *store.Record, w Wanted, out Outcome) (Outcome, error) {
	status, err := h.statusOf(ctx, rec.Machine())
	if err != nil {
		return out, err
	}
	if out.Waiting, err = h.relink(ctx, rec, waitsFor(rec.Machine(), status)); err != nil {
		return out, err
	}
	if len(out.Waiting) == 0 || !w.Restart {
		return out, nil
	}
	if _, err := h.stop(ctx, rec.Machine(), w.Grace); err != nil {
		return out, err
	}
	if _, err := h.boot(ctx, rec, w.Run.Timeout, func(b *stages.Boot) pipeline.Stage { return b }); err != nil {
		return out, err
	}
	out.Changed, out.Restarted, out.Waiting = true, true, nil
	out.Machine = rec.Machine()
	return out, rec.Update(func(m *store.Machine) { m.Waiting = nil })
}

// WaitsFor names the fields of a machine, by their keys in a spec file, that
// were changed and take a restart to have.
func WaitsFor(v View) []string { return waitsFor(v.Machine, v.Status) }
