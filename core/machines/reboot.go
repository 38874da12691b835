package machines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// NotRunningError says that a machine is off that would have to run.
type NotRunningError struct{ Name string }

func (e *NotRunningError) Error() string { return "machine " + e.Name + " does not run" }

// Restart powers a machine off if it runs, boots it and proves that one can log
// in.
func (h *House) Restart(ctx context.Context, name string, grace, timeout time.Duration) error {
	return h.withMachine(name, func(rec *store.Record) error {
		if !rec.Machine().Complete { // before it is stopped
			return fmt.Errorf("%s: %w", name, ErrIncomplete)
		}
		if _, err := h.stop(ctx, rec.Machine(), grace); err != nil {
			return err
		}
		_, err := h.boot(ctx, rec, timeout, func(b *stages.Boot) pipeline.Stage { return b })
		return err
	})
}

// Reboot has a machine reboot itself, and proves that one can log in to what
// booted.
func (h *House) Reboot(ctx context.Context, name string, timeout time.Duration) error {
	return h.withMachine(name, func(rec *store.Record) error {
		_, err := h.boot(ctx, rec, timeout, func(b *stages.Boot) pipeline.Stage { return rebooting{b} })
		return err
	})
}

// rebooting is the stage that boots, for a machine that runs.
type rebooting struct{ *stages.Boot }

func (r rebooting) Check(ctx context.Context) ([]pipeline.Change, error) {
	m := r.Record.Machine()
	status, err := r.Driver.Status(ctx, m.Name)
	if err == nil && status.State != driver.Running {
		err = &NotRunningError{m.Name}
	}
	return []pipeline.Change{{Action: "run", Subject: "machine " + m.Name, Detail: "reboot it, prove a login over SSH"}}, err
}

func (r rebooting) Apply(ctx context.Context) error {
	boot := *r.Boot
	boot.Driver = again{r.Driver}
	return boot.Apply(ctx)
}

// again is a driver that starts what runs, by having it reboot itself.
type again struct{ driver.Driver }

func (a again) Start(ctx context.Context, m driver.Machine) error {
	before, err := a.reboot(ctx, m.Name)
	if err != nil {
		return fmt.Errorf("rebooting %s: %w", m.Name, err)
	}
	// Who runs the machine starts it again by himself, but not if it powered
	// off instead: so it is asked for until there is a new leader.
	for {
		err := a.Driver.Start(ctx, m)
		if err != nil && !errors.Is(err, driver.ErrEnded) {
			return err
		}
		status, serr := a.Status(ctx, m.Name)
		if serr != nil {
			return serr
		}
		if err == nil && status.State == driver.Running && status.Leader != before {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// reboot asks the machine's init and returns once it has ended, with the number
// that it had.
func (a again) reboot(ctx context.Context, name string) (pid int, err error) {
	status, err := a.Status(ctx, name)
	if err != nil {
		return 0, err
	}
	if status.State != driver.Running {
		return 0, &NotRunningError{name}
	}
	p, err := leader.Open(status.Leader)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	// What was pinned is the machine's leader if it is so still.
	if again, err := a.Status(ctx, name); err != nil || again.Leader != status.Leader {
		return 0, errors.Join(fmt.Errorf("its leader ended meanwhile"), err)
	}
	if err := p.WaitListening(ctx); err != nil {
		return 0, err
	}
	if err := p.Reboot(); err != nil {
		return 0, err
	}
	if err := p.Wait(ctx); err != nil {
		return 0, fmt.Errorf("it was asked to and did not go down: %w", err)
	}
	return status.Leader, nil
}
