package stages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/readiness"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Boot starts the machine and proves, rung by rung, that one can log in.
type Boot struct {
	Record  *store.Record
	Driver  driver.Driver
	Machine func(store.Machine) driver.Machine
	Timeout time.Duration
	// Secret is the password in plain, when this run knows it: then that is
	// one of the ways in that are proven.
	Secret spec.Secret
	// Ready says what keeps a machine from being started that was fine when it
	// was made; nil where nothing can.
	Ready func() error
	Tell  pipeline.Observer
}

// undoGrace is how long a machine that is to go may take to power off.
const undoGrace = 5 * time.Second

// Name is "boot".
func (*Boot) Name() string { return NameBoot }

// Check is empty when the machine runs and was proven to be reachable.
func (b *Boot) Check(ctx context.Context) ([]pipeline.Change, error) {
	m := b.Record.Machine()
	start := []pipeline.Change{{Action: "run", Subject: "machine " + m.Name, Detail: "boot it, prove a login over SSH"}}
	if m.Spec.Network.Private {
		start[0].Detail = "boot it, prove that systemd is up; without a link there is no SSH"
	}
	if m.Tree.Root == (rootfs.Identity{}) || !m.Complete {
		return start, nil
	}
	status, err := b.Driver.Status(ctx, m.Name)
	if err != nil || status.State == driver.Running {
		return nil, err
	}
	return start, nil
}

// Apply boots and proves.
func (b *Boot) Apply(ctx context.Context) (err error) {
	m := b.Record.Machine()
	ctx, cancel := context.WithTimeoutCause(ctx, b.Timeout, fmt.Errorf("not ready within %s", b.Timeout))
	defer cancel()
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(m.HostKey))
	if err != nil {
		return fmt.Errorf("the machine's host key on record: %w", err)
	}
	if err := b.prepare(ctx, m); err != nil {
		return err
	}
	if m.Spec.Network.Private {
		return b.withoutLink(ctx, m)
	}
	probe, err := newProbeKey(m.HostSide.Addr().String())
	if err != nil {
		return err
	}
	if err := withTree(b.Record, probe.letIn); err != nil {
		return fmt.Errorf("letting the probe in: %w", err)
	}
	defer func() {
		err = errors.Join(err, withTree(b.Record, shutOut), shutOutOfCopy(ctx, b.Driver, m))
	}()
	if err := b.Driver.Start(ctx, b.Machine(m)); err != nil {
		return crowded(b.explain(ctx, m, err))
	}
	target := readiness.Target{
		Name: m.Name, Driver: b.Driver, Interface: m.Interface, HostSide: m.HostSide.Addr(), Address: m.Address.Addr(),
		HostKey: hostKey, Logins: b.logins(m, probe),
	}
	switch {
	case m.Spec.Network.Egress == spec.EgressNone:
		b.Tell(pipeline.Event{
			Stage: b.Name(), Kind: pipeline.Progress, Text: "no name is to be resolved: --egress none closes DNS too, on purpose",
		})
	case m.Facts != nil:
		target.ProbeHost = m.Facts.ProbeHost
	}
	if err := readiness.Prove(ctx, target, b.report); err != nil {
		return crowded(err)
	}
	b.bounded(ctx, m)
	return nil
}

// prepare looks at what may have changed since the machine was made, and clears
// away what a killed systemd-nspawn left.
func (b *Boot) prepare(ctx context.Context, m store.Machine) error {
	status, err := b.Driver.Status(ctx, m.Name)
	if err != nil || status.State == driver.Running {
		return err
	}
	if err := removeSnapshots(ctx, m.Tree.Path); err != nil {
		return err
	}
	if b.Ready == nil {
		return nil
	}
	return b.Ready()
}

// withoutLink boots a machine that nobody can log in to over SSH, and proves
// what can be: that systemd in it is up.
func (b *Boot) withoutLink(ctx context.Context, m store.Machine) error {
	if err := b.Driver.Start(ctx, b.Machine(m)); err != nil {
		return b.explain(ctx, m, err)
	}
	if err := readiness.Prove(ctx, readiness.Target{Name: m.Name, Driver: b.Driver, NoLink: true}, b.report); err != nil {
		return err
	}
	b.bounded(ctx, m)
	return nil
}

// logins are the ways in that are proven.
func (b *Boot) logins(m store.Machine, probe probeKey) []readiness.Login {
	ways := []readiness.Login{{Label: "key", Method: ssh.PublicKeys(probe.signer)}}
	kind := m.Password()
	if (kind == spec.PasswordGiven || kind == spec.PasswordGenerated) && !b.Secret.Empty() {
		ways = append(ways, readiness.Login{Label: "password", Method: ssh.Password(b.Secret.Reveal())})
	}
	return ways
}

// explain adds what the machine printed to the driver's error.
func (b *Boot) explain(ctx context.Context, m store.Machine, err error) error {
	tail, consoleErr := b.Driver.Console(context.WithoutCancel(ctx), m.Name, 20)
	if consoleErr != nil {
		tail = nil
	}
	return &readiness.Error{
		Rung: readiness.LeaderRuns, Message: "the machine did not start",
		Hint: "nspawn-build logs " + m.Name + " shows more where it is still there", Err: err, Journal: tail,
	}
}

func (b *Boot) report(r readiness.Rung) {
	if r.Warning != "" {
		b.Tell(pipeline.Event{Stage: b.Name(), Kind: pipeline.Warning, Text: r.Warning})
	}
	b.Tell(pipeline.Event{Stage: b.Name(), Kind: pipeline.Progress, Text: r.Step.String(), Item: r.Detail})
}

// Undo stops the machine.
func (b *Boot) Undo(ctx context.Context) error {
	return b.Driver.Stop(ctx, b.Machine(b.Record.Machine()), undoGrace)
}
