package direct

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/leftover"
	"github.com/nspawn-build/nspawn-build/core/driver/nspawn"
	"github.com/nspawn-build/nspawn-build/core/driver/veth"
	"github.com/nspawn-build/nspawn-build/core/hostlink"
)

// killing is how long what was killed by force may take to be gone.
const killing = nspawn.Killing

// insisting is how long a supervisor that was told to use force may take. One
// that works is done in a moment.
const insisting = 5 * time.Second

// Stop ends the machine through its supervisor, and then removes whatever a
// supervisor that was killed left behind.
func (d *Driver) Stop(ctx context.Context, m driver.Machine, grace time.Duration) error {
	f, err := d.files(m.Name)
	if err != nil {
		return err
	}
	if err := d.stopSupervisor(ctx, f, grace); err != nil {
		return fmt.Errorf("stopping %s: %w", m.Name, err)
	}
	lock, err := acquire(ctx, f.lock())
	if err != nil {
		return fmt.Errorf("stopping %s: %w", m.Name, err)
	}
	err = d.clean(ctx, m, grace)
	if err == nil {
		err = f.removeAll()
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("stopping %s: %w", m.Name, err)
	}
	// What is not empty stays: other machines run.
	_ = os.Remove(d.machines())
	_ = os.Remove(d.config.RuntimeDir)
	return nil
}

// stopSupervisor asks, then insists, then kills.
func (d *Driver) stopSupervisor(ctx context.Context, f files, grace time.Duration) error {
	s, running, err := f.supervised()
	for running && err == nil && s.Supervisor == 0 { // it has only just begun
		time.Sleep(5 * time.Millisecond)
		if s, running, err = f.supervised(); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if err != nil || !running {
		return err
	}
	pidfd, err := unix.PidfdOpen(s.Supervisor, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding the supervisor: %w", err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	// While the lock is held by the one that wrote its number, the number
	// is its own.
	if again, running, err := f.supervised(); err != nil || !running || again.Supervisor != s.Supervisor {
		return err
	}
	if err := writeJSON(f.grace(), grace); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	steps := []struct {
		signal unix.Signal
		within time.Duration
	}{
		{unix.SIGTERM, grace + time.Second},
		{unix.SIGUSR1, insisting},
		{unix.SIGKILL, killing},
	}
	for _, step := range steps {
		if err := unix.PidfdSendSignal(pidfd, step.signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signalling the supervisor: %w", err)
		}
		ended, err := waitProcess(ctx, pidfd, step.within)
		if err != nil || ended {
			return err
		}
	}
	return errors.New("the supervisor cannot be killed")
}

// waitProcess waits for a process that need not be our child.
func waitProcess(ctx context.Context, pidfd int, within time.Duration) (ended bool, err error) {
	deadline := time.Now().Add(within)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false, nil
		}
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		// Bounded, so that the end of ctx is seen soon.
		n, err := unix.Poll(fds, int(min(left, 50*time.Millisecond)/time.Millisecond)+1)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("waiting for the supervisor: %w", err)
		case n > 0:
			return true, nil
		case ctx.Err() != nil:
			return false, fmt.Errorf("waiting for the supervisor: %w", context.Cause(ctx))
		}
	}
}

// clean removes everything that a machine leaves on the host but its runtime
// directory. The caller holds the machine's lock. What still runs is given
// time to end: when a supervisor dies, systemd-nspawn powers the machine off.
func (d *Driver) clean(ctx context.Context, m driver.Machine, grace time.Duration) error {
	g, err := group(m.Name)
	if err != nil {
		return err
	}
	orderly, cancel := context.WithTimeout(ctx, grace)
	err = g.WaitEmpty(orderly)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		force, cancel := context.WithTimeout(ctx, killing)
		defer cancel()
		if err := g.Kill(force); err != nil {
			return err
		}
	}
	errs := []error{g.Remove(ctx), leftover.Remove(m.Name)}
	if m.Interface != "" {
		errs = append(errs, veth.Remove(m.Interface))
	}
	// The rules last: as long as there is a link they hold.
	return errors.Join(append(errs, hostlink.Remove(ctx, d.hostlinks(d.config.Warn), m.Name))...)
}

// removeAll removes the machine's runtime directory at once, for all to see:
// whoever starts the machine at this moment makes a new one, of which nothing
// may be removed. The caller holds the lock.
func (f files) removeAll() error {
	away, err := os.MkdirTemp(filepath.Dir(f.dir), ".removed-")
	if err != nil {
		return err
	}
	err = os.Rename(f.dir, filepath.Join(away, "machine"))
	return errors.Join(err, os.RemoveAll(away))
}

// removeFiles removes what is in the machine's runtime directory but the
// console, which says why a machine ended, and the lock that is being held.
func (f files) removeFiles() error {
	var errs []error
	for _, file := range []string{f.description(), f.state(), f.grace(), f.notify(), f.identity()} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
