package machines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/hostlink"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// relink has the keeper of a machine that runs do what its record says, where
// that is among what waits, and returns what waits still. Where it cannot be
// done it goes on waiting, with a word: the machine has it from its next boot.
func (h *House) relink(ctx context.Context, rec *store.Record, waiting []string) ([]string, error) {
	ofLink := func(key string) bool { return slices.Contains(stages.LinkFields, key) }
	if !slices.ContainsFunc(waiting, ofLink) {
		return waiting, nil
	}
	// What goes with a change that takes a boot comes with it.
	if slices.ContainsFunc(waiting, func(key string) bool { return strings.HasPrefix(key, "network.") && !ofLink(key) }) {
		return waiting, nil
	}
	m := rec.Machine()
	if err := h.tellKeeper(ctx, m); err != nil {
		h.Tell(pipeline.Event{
			Stage: stages.NameNetwork, Kind: pipeline.Warning,
			Text: fmt.Sprintf("what %s reaches and publishes stays as it was: %v", m.Name, err),
			Hint: "nspawn-build restart " + m.Name,
		})
		return waiting, nil
	}
	left := slices.DeleteFunc(slices.Clone(waiting), ofLink)
	return left, rec.Update(func(m *store.Machine) {
		if len(left) == 0 {
			m.Waiting = nil
			return
		}
		w := *m.Waiting
		w.Fields = left
		m.Waiting = &w
	})
}

// tellKeeper has the keeper of a machine's link hold the link that is on record.
func (h *House) tellKeeper(ctx context.Context, m store.Machine) error {
	l := stages.HostLink(m)
	err := hostlink.Change(ctx, hostlink.Config{RuntimeDir: RuntimeDir}, l)
	if !errors.Is(err, hostlink.ErrNotKept) || m.Driver != spec.DriverSystemd {
		return err
	}
	if !l.Needed() {
		return nil // and nobody holds anything
	}
	// The machine had no need of one until now. It reads the record itself.
	return h.startKeeper(ctx, unitfile.LinkUnit(m.Name))
}

// startKeeper starts a service that systemd else starts with the machine.
func (h *House) startKeeper(ctx context.Context, unit string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	bus, err := host.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	return bus.StartUnit(ctx, unit)
}
