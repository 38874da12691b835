package systemd

import (
	"context"
	"errors"
	"fmt"
	"time"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/driver/leftover"
	"github.com/nspawn-build/nspawn-build/core/driver/veth"
)

// recheck is how often a job's outcome is asked for, in case the message that
// says it got lost with a restarted bus.
const recheck = 250 * time.Millisecond

// killing is how long a machine that was killed by force may take to be gone.
const killing = 15 * time.Second

// Start starts the unit and waits for its job, the machine's registration and
// its link.
func (d Driver) Start(ctx context.Context, m driver.Machine) error {
	status, err := d.Status(ctx, m.Name)
	if err != nil {
		return err
	}
	if status.State != driver.Running {
		if err := d.clear(ctx, m.Name); err != nil {
			return err
		}
		if err := d.startUnit(ctx, m.Name); err != nil {
			return fmt.Errorf("starting %s: %w", Unit(m.Name), err)
		}
		if err := d.waitRegistered(ctx, m.Name); err != nil {
			return err
		}
	}
	if m.Interface == "" {
		return nil
	}
	if err := d.checkLink(ctx, m); err != nil {
		return err
	}
	return veth.Wait(ctx, m.Interface)
}

// clear removes what a systemd-nspawn that was killed left behind, unless the
// machine is just starting or stopping.
func (d Driver) clear(ctx context.Context, name string) error {
	gone, err := d.gone(ctx, name, Unit(name))
	if err != nil || !gone {
		return err
	}
	return leftover.Remove(name)
}

func (d Driver) startUnit(ctx context.Context, name string) error {
	unit := Unit(name)
	outcome := make(chan string, 1)
	var b *bus
	// The job is asked for on the connection that hears of its end.
	err := persist(ctx, func(fresh *bus) error {
		if err := fresh.forgive(ctx, unit); err != nil {
			return err
		}
		if b != nil {
			b.close()
		}
		var err error
		if b, err = dial(ctx); err != nil {
			return err
		}
		_, err = b.units.StartUnitContext(ctx, unit, "replace", outcome)
		return err
	})
	if b != nil {
		defer b.close()
	}
	if err != nil {
		return err
	}
	ticker := time.NewTicker(recheck)
	defer ticker.Stop()
	for {
		select {
		case result := <-outcome:
			if result == "done" {
				return nil
			}
			return d.ended(ctx, name, result)
		case <-ticker.C:
			state, err := unitState(ctx, unit)
			if err != nil {
				return err
			}
			switch state {
			case "active":
				return nil
			case "failed":
				return d.ended(ctx, name, state)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ended is the error for a machine that did not come up.
func (d Driver) ended(ctx context.Context, name, result string) error {
	if result == byAssertion {
		return d.unlinked(ctx, name)
	}
	lines, err := d.Console(ctx, name, 20)
	if err != nil {
		return errors.Join(fmt.Errorf("%w (job %s)", driver.ErrEnded, result), err)
	}
	return fmt.Errorf("%w (job %s): %s", driver.ErrEnded, result, console.Reason(lines))
}

func unitState(ctx context.Context, unit string) (state string, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	err = persist(ctx, func(b *bus) (err error) {
		state, err = b.activeState(ctx, unit)
		return err
	})
	return state, err
}

// waitRegistered waits until machined knows the leader. The unit's job is done
// no earlier, but a machined that was restarted meanwhile takes a moment.
func (d Driver) waitRegistered(ctx context.Context, name string) error {
	pause := 5 * time.Millisecond
	for {
		status, err := d.Status(ctx, name)
		if err != nil {
			return err
		}
		if status.State == driver.Running {
			err := waitInit(ctx, status.Leader)
			if !errors.Is(err, leader.ErrGone) {
				return err
			}
		}
		state, err := unitState(ctx, Unit(name))
		if err != nil {
			return err
		}
		if state == "failed" || state == "inactive" {
			return fmt.Errorf("starting %s: %w", Unit(name), d.ended(ctx, name, state))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("waiting for machined to know %s: %w", name, context.Cause(ctx))
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

func waitInit(ctx context.Context, pid int) error {
	p, err := leader.Open(pid)
	if err != nil {
		return err
	}
	return errors.Join(p.WaitInit(ctx), p.Close())
}

// Stop stops the unit, which asks the machine to power off, and waits until
// the unit, the machine and its link are gone; starting it again before that
// fails (systemd issue 24045).
func (d Driver) Stop(ctx context.Context, m driver.Machine, grace time.Duration) error {
	if err := d.stop(ctx, m, grace); err != nil {
		return fmt.Errorf("stopping %s: %w", m.Name, err)
	}
	return nil
}

func (d Driver) stop(ctx context.Context, m driver.Machine, grace time.Duration) error {
	unit, err := d.unitOf(ctx, m.Name)
	if err != nil {
		return err
	}
	if gone, err := d.gone(ctx, m.Name, unit); err != nil {
		return err
	} else if gone {
		return errors.Join(leftover.Remove(m.Name), reset(ctx, unit), d.waitUnlinked(ctx, m.Name))
	}
	if grace > 0 {
		d.awaitListening(ctx, m.Name)
	}
	err = persist(ctx, func(b *bus) error {
		_, err := b.units.StopUnitContext(ctx, unit, "replace", nil)
		return err
	})
	if err != nil && dbusName(err) != "org.freedesktop.systemd1.NoSuchUnit" {
		return err
	}
	orderly, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if err = d.waitGone(orderly, m.Name, unit); err != nil {
		if ctx.Err() != nil {
			return err
		}
		if err := d.kill(ctx, m.Name, unit); err != nil {
			return err
		}
	}
	if m.Interface != "" {
		if err := veth.WaitGone(ctx, m.Interface); err != nil {
			return err
		}
	}
	return errors.Join(leftover.Remove(m.Name), reset(ctx, unit), d.waitUnlinked(ctx, m.Name))
}

// awaitListening gives a machine that was only just started a moment to learn
// to listen: asked too early it would not power off until grace is over.
func (d Driver) awaitListening(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	status, err := d.Status(ctx, name)
	if err != nil || status.State != driver.Running {
		return
	}
	if p, err := leader.Open(status.Leader); err == nil {
		_ = p.WaitListening(ctx) // it is asked in any case
		_ = p.Close()            // holds nothing
	}
}

// unitOf returns the unit that the machine runs in: somebody may have started
// it in another way.
func (d Driver) unitOf(ctx context.Context, name string) (string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	unit := Unit(name)
	err := persist(ctx, func(b *bus) error {
		m, err := b.machine(ctx, name)
		if errors.Is(err, errNoMachine) {
			return nil
		}
		if err == nil && m.unit != "" {
			unit = m.unit
		}
		return err
	})
	return unit, err
}

func (d Driver) kill(ctx context.Context, name, unit string) error {
	err := persist(ctx, func(b *bus) error {
		err := b.units.KillUnitWithTarget(ctx, unit, sddbus.All, int32(unix.SIGKILL))
		if dbusName(err) == "org.freedesktop.systemd1.NoSuchUnit" {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("killing %s: %w", unit, err)
	}
	ctx, cancel := context.WithTimeout(ctx, killing)
	defer cancel()
	return d.waitGone(ctx, name, unit)
}

func (d Driver) waitGone(ctx context.Context, name, unit string) error {
	pause := 5 * time.Millisecond
	for {
		gone, err := d.gone(ctx, name, unit)
		if err != nil || gone {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s to be gone: %w", unit, context.Cause(ctx))
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// gone tells whether neither the service manager nor machined knows a running
// machine of that name.
func (d Driver) gone(ctx context.Context, name, unit string) (gone bool, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	err = persist(ctx, func(b *bus) error {
		state, err := b.activeState(ctx, unit)
		if err != nil {
			return err
		}
		_, err = b.machine(ctx, name)
		gone = errors.Is(err, errNoMachine) && (state == "inactive" || state == "failed")
		if errors.Is(err, errNoMachine) {
			err = nil
		}
		return err
	})
	return gone, err
}

func reset(ctx context.Context, unit string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return persist(ctx, func(b *bus) error { return b.forgive(ctx, unit) })
}
