package systemd

import (
	"context"
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// byDependency is how the job of a unit ends when one that it requires failed.
const byDependency = "dependency"

// unlinked is the error for a machine that did not start because this host
// could not do what it is to do for its link.
func (d Driver) unlinked(ctx context.Context, name string) error {
	unit := unitfile.LinkUnit(name)
	lines, err := journalOf(ctx, unit, 5)
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %s failed", driver.ErrEnded, unit), err)
	}
	return fmt.Errorf("%w: %s: %s", driver.ErrEnded, unit, console.Reason(lines))
}

// stopLink ends what this host does for the link of a machine that is off, and
// waits for it. Most machines have nothing of the kind.
func (d Driver) stopLink(ctx context.Context, name string) error {
	unit := unitfile.LinkUnit(name)
	state, err := unitState(ctx, unit)
	if err != nil || state == "inactive" {
		return err
	}
	b, err := dial(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	ended := make(chan string, 1)
	if _, err := b.units.StopUnitContext(ctx, unit, "replace", ended); err != nil {
		if dbusName(err) == "org.freedesktop.systemd1.NoSuchUnit" {
			return nil
		}
		return fmt.Errorf("stopping %s: %w", unit, err)
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("stopping %s: %w", unit, context.Cause(ctx))
	}
	return reset(ctx, unit)
}
