package stages

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// Limits writes the drop-in of the machine's service. Under the direct driver
// there is no service: the driver itself reads the limits from the record.
type Limits struct {
	Record    *store.Record
	Files     *hostfile.Files
	Exclusive Exclusive
	// Reload makes the service manager read its units again; nil where there
	// is no service manager.
	Reload func(ctx context.Context) error
}

// Name is "limits".
func (*Limits) Name() string { return NameLimits }

func dropInPath(name string) string {
	return filepath.Join(dirUnits, "systemd-nspawn@"+name+".service.d", "50-nspawn-build.conf")
}

func (l *Limits) needed(m store.Machine) bool {
	return l.Reload != nil && m.Spec.Limits != (spec.Limits{})
}

// Check compares the drop-in with what is wanted.
func (l *Limits) Check(context.Context) ([]pipeline.Change, error) {
	m := l.Record.Machine()
	if !l.needed(m) {
		return nil, nil
	}
	content, err := unitfile.LimitsDropIn{Machine: m.Name, Limits: m.Spec.Limits}.Render()
	if err != nil {
		return nil, err
	}
	same, err := l.Files.Same(dropInPath(m.Name), content, l.ours)
	if err != nil || same {
		return nil, err
	}
	return []pipeline.Change{{Action: "create", Subject: dropInPath(m.Name)}}, nil
}

func (l *Limits) ours(content []byte) bool {
	return unitfile.Made(content, l.Record.Machine().Name)
}

// Apply writes the drop-in.
func (l *Limits) Apply(ctx context.Context) error {
	m := l.Record.Machine()
	content, err := unitfile.LimitsDropIn{Machine: m.Name, Limits: m.Spec.Limits}.Render()
	if err != nil {
		return err
	}
	return l.Exclusive(ctx, func() error {
		if err := l.Files.Write(dropInPath(m.Name), content, 0o644, l.ours); err != nil {
			return err
		}
		return l.Reload(ctx)
	})
}

// Undo removes the drop-in.
func (l *Limits) Undo(ctx context.Context) error {
	m := l.Record.Machine()
	if !l.needed(m) {
		return nil
	}
	return l.Exclusive(ctx, func() error {
		if err := unlessForeign(l.Files.Remove(dropInPath(m.Name), l.ours)); err != nil {
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
