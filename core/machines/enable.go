package machines

import (
	"context"
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

func cannotEnable(name string) error {
	return &HostError{
		"nothing boots " + name + " when this host boots: that takes the systemd driver",
		"have what starts services on this host run: nspawn-build start " + name,
	}
}

// Enable has this host boot a machine whenever it boots itself.
func (h *House) Enable(ctx context.Context, name string) (changed bool, err error) {
	err = h.enabling(name, func(rec *store.Record, stage *stages.Enable) error {
		if stage.Units == nil {
			return cannotEnable(name)
		}
		if !rec.Machine().Spec.Enable {
			// First on record: then making it again makes it so, whatever cuts
			// this short.
			if err := rec.Update(func(m *store.Machine) { m.Spec.Enable = true }); err != nil {
				return err
			}
			changed = true
		}
		results, err := (&pipeline.Runner{Stages: []pipeline.Stage{stage}}).Run(ctx)
		changed = changed || len(results) == 1 && results[0].Changed
		return err
	})
	return changed, err
}

// Disable takes back what Enable did, or machinectl. Nothing is started or
// stopped.
func (h *House) Disable(ctx context.Context, name string) (changed bool, err error) {
	err = h.enabling(name, func(rec *store.Record, stage *stages.Enable) error {
		on, err := stage.On(ctx)
		if err != nil {
			return err
		}
		changed = on || rec.Machine().Spec.Enable
		if err := stage.Undo(ctx); err != nil {
			return err
		}
		if !rec.Machine().Spec.Enable {
			return nil
		}
		return rec.Update(func(m *store.Machine) { m.Spec.Enable = false })
	})
	return changed, err
}

func (h *House) enabling(name string, do func(*store.Record, *stages.Enable) error) error {
	return h.withMachine(name, func(rec *store.Record) error {
		if !rec.Machine().Complete {
			return fmt.Errorf("%s: %w", name, ErrIncomplete)
		}
		all, err := h.assemble(rec, nil)
		if err != nil {
			return err
		}
		return do(rec, all.Enable)
	})
}

// unitFiles are those of the service manager; nil where it boots no machines.
func (h *House) unitFiles(kind spec.Driver) stages.UnitFiles {
	if kind != spec.DriverSystemd {
		return nil
	}
	return onHost{}
}

// onHost asks the service manager of this host, over a connection for each
// question.
type onHost struct{}

func (onHost) Enabled(ctx context.Context, unit string) (on bool, err error) {
	err = withBus(ctx, func(b *host.Bus) (err error) {
		on, err = b.UnitEnabled(ctx, unit)
		return err
	})
	return on, err
}

func (onHost) Enable(ctx context.Context, units ...string) error {
	return withBus(ctx, func(b *host.Bus) error { return b.EnableUnits(ctx, units...) })
}

func (onHost) Disable(ctx context.Context, unit string) error {
	return withBus(ctx, func(b *host.Bus) error { return b.DisableUnit(ctx, unit) })
}

func (onHost) Wants(target string) (bool, error) { return host.Wants(target) }

func withBus(ctx context.Context, do func(*host.Bus) error) (err error) {
	bus, err := host.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	return do(bus)
}
