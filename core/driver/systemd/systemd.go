// Package systemd boots machines through the host's service manager and asks
// machined about them, both over D-Bus.
//
// A machine is the unit systemd-nspawn@NAME.service, exactly what
// "machinectl start NAME" starts, so that both can be used side by side. The
// package never runs systemd-nspawn itself and never writes a unit.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// Driver is the driver "systemd". Its zero value is ready for use, from
// several goroutines too.
type Driver struct{}

var _ driver.Driver = Driver{}

// New returns the driver. It connects only when asked something.
func New() Driver { return Driver{} }

// Name returns "systemd".
func (Driver) Name() string { return "systemd" }

// Unit returns the name of a machine's unit. A machine's name needs no
// escaping: all of its characters stand for themselves in a unit's name, and
// the template uses the instance as it is written (%i).
func Unit(name string) string { return "systemd-nspawn@" + name + ".service" }

// Status asks machined.
func (Driver) Status(ctx context.Context, name string) (driver.Status, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var status driver.Status
	err := persist(ctx, func(b *bus) (err error) {
		status, err = b.status(ctx, name)
		return err
	})
	if err != nil {
		return driver.Status{}, fmt.Errorf("asking machined for %s: %w", name, err)
	}
	return status, nil
}

func (b *bus) status(ctx context.Context, name string) (driver.Status, error) {
	stopped := driver.Status{State: driver.Stopped}
	m, err := b.machine(ctx, name)
	if errors.Is(err, errNoMachine) {
		return stopped, nil
	}
	if err != nil {
		return driver.Status{}, err
	}
	p, err := leader.Open(m.leader)
	if errors.Is(err, leader.ErrGone) {
		return stopped, nil // machined has not noticed yet
	}
	if err != nil {
		return driver.Status{}, err
	}
	since, err := p.Started()
	if err = errors.Join(err, p.Close()); errors.Is(err, leader.ErrGone) {
		return stopped, nil
	}
	return driver.Status{State: driver.Running, Leader: m.leader, Since: since}, err
}

// Console returns the end of what the unit's processes wrote to the journal:
// systemd-nspawn itself, and through it the machine.
func (Driver) Console(ctx context.Context, name string, lines int) ([]string, error) {
	return journalOf(ctx, Unit(name), lines)
}

func journalOf(ctx context.Context, unit string, lines int) ([]string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat",
		"--lines="+strconv.Itoa(lines), "_SYSTEMD_UNIT="+unit)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, console.Reason(console.Lines(string(exit.Stderr))))
		}
		return nil, fmt.Errorf("reading the journal of %s: %w", unit, err)
	}
	return console.Last(console.Lines(string(out)), lines), nil
}
