package stages

import (
	"context"
	"errors"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// bounded tells which of the capabilities that the spec names the machine has
// all the same, or has not: systemd-nspawn says so in a log at best.
func (b *Boot) bounded(ctx context.Context, m store.Machine) {
	s := m.Spec.Security
	if len(s.Capabilities)+len(s.DropCapabilities) == 0 {
		return
	}
	warn := func(text string) { b.Tell(pipeline.Event{Stage: b.Name(), Kind: pipeline.Warning, Text: text}) }
	bound, err := b.bound(ctx, m.Name)
	if err != nil {
		warn("which capabilities " + m.Name + " has is not known: " + err.Error())
		return
	}
	kept, missing := s.NotHeld(bound)
	if len(kept) > 0 {
		warn(m.Name + " has what was to be taken from it: " + strings.Join(kept, ", "))
	}
	if len(missing) > 0 {
		warn(m.Name + " has not what it was given: " + strings.Join(missing, ", ") + "; this host may lack it too")
	}
}

// bound reads the capabilities that the machine's processes can have.
func (b *Boot) bound(ctx context.Context, name string) (bound uint64, err error) {
	status, err := b.Driver.Status(ctx, name)
	if err != nil {
		return 0, err
	}
	p, err := leader.Open(status.Leader)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	return p.CapabilityBound()
}
