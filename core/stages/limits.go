package stages

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// Limits bounds what a machine may use, from now on where it runs. Under the
// systemd driver they are in a drop-in of the machine's service, which the
// service manager applies when it reads it; under the direct driver there is
// no service, and the driver itself takes them from the record.
type Limits struct {
	Record    *store.Record
	Files     *hostfile.Files
	Exclusive Exclusive
	Driver    driver.Driver
	Machine   func(store.Machine) driver.Machine
	// Reload makes the service manager read its units again; nil where there
	// is no service manager.
	Reload func(ctx context.Context) error
	// Control says that the machine goes for good: what `systemctl
	// set-property` left of it is removed too, as nothing else does.
	Control bool
	Tell    pipeline.Observer
}

// Name is "limits".
func (*Limits) Name() string { return NameLimits }

func unitDropIns(name string) string { return "systemd-nspawn@" + name + ".service.d" }

func dropInPath(name string) string {
	return filepath.Join(dirUnits, unitDropIns(name), "50-nspawn-build.conf")
}

// Check compares the drop-in with what is wanted, and what is wanted with what
// bounds the machine.
func (l *Limits) Check(ctx context.Context) ([]pipeline.Change, error) {
	m := l.Record.Machine()
	changes, err := l.checkDropIn(m)
	if err != nil {
		return nil, err
	}
	bounds, err := l.Driver.Limits(ctx, l.Machine(m))
	if err != nil {
		return nil, err
	}
	for _, p := range bounds.Pending {
		changes = append(changes, pipeline.Change{Action: "update", Subject: "limits of " + m.Name, Detail: p})
	}
	return changes, nil
}

func (l *Limits) checkDropIn(m store.Machine) ([]pipeline.Change, error) {
	if l.Reload == nil {
		return nil, nil
	}
	path := dropInPath(m.Name)
	content, err := l.render(m)
	if err != nil {
		return nil, err
	}
	have, err := l.Files.Read(path, l.ours)
	switch {
	case content == nil && (have == nil || errors.Is(err, hostfile.ErrForeign)):
		return nil, nil // somebody else's file may be there when we need none
	case err != nil || bytes.Equal(have, content):
		return nil, err
	case content == nil:
		return []pipeline.Change{{Action: "remove", Subject: path}}, nil
	case have == nil:
		return []pipeline.Change{{Action: "create", Subject: path}}, nil
	}
	return []pipeline.Change{{Action: "update", Subject: path}}, nil
}

// render is the drop-in; nil when there is nothing to say in it.
func (l *Limits) render(m store.Machine) ([]byte, error) {
	if m.Spec.Limits == (spec.Limits{}) {
		return nil, nil
	}
	return unitfile.LimitsDropIn{Machine: m.Name, Limits: m.Spec.Limits, Tree: m.Tree.Path}.Render()
}

func (l *Limits) ours(content []byte) bool {
	return unitfile.Made(content, l.Record.Machine().Name)
}

// Apply writes the drop-in, or removes it, and has the machine's limits changed
// where it runs.
func (l *Limits) Apply(ctx context.Context) error {
	m := l.Record.Machine()
	if l.Reload != nil {
		if err := l.Exclusive(ctx, func() error { return l.settle(ctx, m) }); err != nil {
			return err
		}
	}
	refused, err := l.Driver.Limit(ctx, l.Machine(m))
	for _, r := range refused {
		l.Tell(pipeline.Event{Stage: l.Name(), Kind: pipeline.Warning, Text: r})
	}
	return err
}

func (l *Limits) settle(ctx context.Context, m store.Machine) error {
	if err := l.liftBandwidth(ctx, m); err != nil {
		return err
	}
	content, err := l.render(m)
	switch {
	case err != nil:
	case content == nil:
		err = unlessForeign(l.Files.Remove(dropInPath(m.Name), l.ours))
	default:
		err = l.Files.Write(dropInPath(m.Name), content, 0o644, l.ours)
	}
	if err != nil {
		return err
	}
	return l.Reload(ctx)
}

// liftBandwidth lifts a bandwidth that a machine runs with and is not to have
// any more. All other limits the service manager gives back their defaults when
// it no longer finds them in the unit's files; of a bandwidth it then does not
// know of which disk it was.
func (l *Limits) liftBandwidth(ctx context.Context, m store.Machine) error {
	if m.Spec.Limits.IOBandwidth != 0 {
		return nil
	}
	bounds, err := l.Driver.Limits(ctx, l.Machine(m))
	if has := bounds.Kernel.IOBandwidth; err != nil || has == 0 || has == spec.Infinity {
		return err
	}
	m.Spec.Limits.IOBandwidth = spec.Infinity
	content, err := l.render(m)
	if err != nil {
		return err
	}
	err = l.Files.Write(dropInPath(m.Name), content, 0o644, l.ours)
	if errors.Is(err, hostfile.ErrForeign) {
		return nil // then it was not we who bounded it
	}
	if err != nil {
		return err
	}
	if err := l.Reload(ctx); err != nil {
		return err
	}
	_, err = l.Driver.Limit(ctx, l.Machine(m)) // what is refused is said at the end
	return err
}

// Undo removes the drop-in.
func (l *Limits) Undo(ctx context.Context) error {
	if l.Reload == nil {
		return nil
	}
	m := l.Record.Machine()
	return l.Exclusive(ctx, func() error {
		if err := unlessForeign(l.Files.Remove(dropInPath(m.Name), l.ours)); err != nil {
			return err
		}
		if l.Control {
			if err := l.removeControl(m.Name); err != nil {
				return err
			}
		}
		// A run that was cut off may have removed them and not said so.
		unbounded := l.Machine(m)
		unbounded.Limits = spec.Limits{}
		bounds, err := l.Driver.Limits(ctx, unbounded)
		if err != nil || len(bounds.Pending) == 0 {
			return err
		}
		return l.Reload(ctx)
	})
}

// unlessForeign drops the error that a file is not ours: on the way out such a
// file is simply left alone.
func unlessForeign(err error) error {
	if errors.Is(err, hostfile.ErrForeign) {
		return nil
	}
	return err
}
