package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// checkLink compares the name that the machine's link should have with those
// that its links do have, as machined was told of them: what the file for
// networkd, the rules and the probes go by must be the real one.
func (d Driver) checkLink(ctx context.Context, m driver.Machine) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var known machine
	err := persist(ctx, func(b *bus) (err error) {
		known, err = b.machine(ctx, m.Name)
		return err
	})
	if errors.Is(err, errNoMachine) {
		return nil // it ended again, which is seen elsewhere
	}
	if err != nil {
		return fmt.Errorf("asking machined for the links of %s: %w", m.Name, err)
	}
	var names []string
	for _, index := range known.links {
		link, err := net.InterfaceByIndex(index)
		if err != nil {
			continue // it went with the machine
		}
		if link.Name == m.Interface {
			return nil
		}
		names = append(names, link.Name)
	}
	if len(names) == 0 {
		return nil // it is waited for
	}
	return fmt.Errorf("the link of %s is called %s and not %s, by which this host was configured for it: is a net.naming-scheme set, or the link renamed?",
		m.Name, strings.Join(names, ", "), m.Interface)
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
