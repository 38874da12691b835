package machines

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// restorable are the stages that can be run again on a machine that is made,
// and that put back nothing but files of ours.
var restorable = []string{stages.NameServices, stages.NameNetwork, stages.NameSettings, stages.NameLimits}

// Drift is what one stage finds to be no longer as it made it.
type Drift struct {
	Stage   string
	Changes []pipeline.Change
	Err     error // why it cannot be told: something foreign is in the way, say
}

// Drifts asks every stage whose work can be put back what is missing. Nothing
// is touched.
func (h *House) Drifts(ctx context.Context, m store.Machine) ([]Drift, error) {
	all, err := h.assemble(h.Store.NewRecord(m), nil)
	if err != nil {
		return nil, err
	}
	var found []Drift
	for _, s := range restorableOf(all) {
		changes, err := s.Check(ctx)
		if err != nil || len(changes) > 0 {
			found = append(found, Drift{s.Name(), changes, err})
		}
	}
	return found, nil
}

func restorableOf(all stages.All) []pipeline.Stage {
	return slices.DeleteFunc(all.Order(), func(s pipeline.Stage) bool { return !slices.Contains(restorable, s.Name()) })
}

// Restore runs those stages again that find something missing, in order.
func (h *House) Restore(ctx context.Context, name string) error {
	return h.withMachine(name, func(rec *store.Record) error {
		if !rec.Machine().Complete {
			return fmt.Errorf("%s: %w", name, ErrIncomplete)
		}
		all, err := h.assemble(rec, nil)
		if err != nil {
			return err
		}
		runner := pipeline.Runner{Stages: restorableOf(all)}
		_, err = runner.Run(ctx)
		return err
	})
}

// Exclusive runs f while no other run of the program changes what machines
// share.
func (h *House) Exclusive(ctx context.Context, f func() error) error { return h.exclusive(ctx, f) }

// Locked runs f while no other run of the program is at work on a machine.
func (h *House) Locked(name string, f func(store.Machine) error) error {
	return h.withMachine(name, func(rec *store.Record) error { return f(rec.Machine()) })
}

// Driver gives the driver that boots a machine.
func (h *House) Driver(kind spec.Driver) (driver.Driver, error) { return h.driverOf(kind) }

// Lacking says which tools of a plugin this host lacks for a distro, and the
// command that installs them; empty when it lacks none.
func (h *House) Lacking(d sdk.Description, distro string) (missing []string, command string) {
	missing, packages := h.lacking(d, distro)
	if len(packages) > 0 {
		command = sdk.InstallCommand(h.Host.Family, strings.Join(packages, " "))
	}
	return missing, command
}
