package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// byAssertion is how the job of a unit ends when what it asserts does not hold:
// of a machine, that this host has done what it is to do for its link.
const byAssertion = "assert"

// unlinked is the error for a machine that did not start because this host
// could not do what it is to do for its link.
func (d Driver) unlinked(ctx context.Context, name string) error {
	unit := unitfile.LinkUnit(name)
	lines, err := journalOf(ctx, unit, 5)
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %s failed", driver.ErrEnded, unit), err)
	}
	return fmt.Errorf("%w: %s: %s", driver.ErrEnded, unit, console.Reason(said(lines)))
}

// said is what this program itself said was wrong.
func said(lines []string) []string {
	var errs []string
	for _, l := range lines {
		if problem, ok := strings.CutPrefix(l, "error: "); ok {
			errs = append(errs, problem)
		}
	}
	if len(errs) == 0 {
		return lines
	}
	return errs
}

// waitUnlinked waits until what this host does for the link of a machine that
// is off has ended, which it does by itself. Most machines have nothing of the
// kind.
func (d Driver) waitUnlinked(ctx context.Context, name string) error {
	unit := unitfile.LinkUnit(name)
	ctx, cancel := context.WithTimeout(ctx, killing)
	defer cancel()
	pause := 5 * time.Millisecond
	for {
		state, err := unitState(ctx, unit)
		if err != nil || state == "inactive" {
			return err
		}
		if state == "failed" {
			return reset(ctx, unit)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s to end: %w", unit, context.Cause(ctx))
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}
