package leader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Wait returns nil once the process has ended, and the cause of ctx's end if
// that comes first.
func (p *Process) Wait(ctx context.Context) error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("waiting for process %d: %w", p.PID, err)
	}
	awake := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(awake)
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // has room for it
	})
	defer func() {
		if !stop() {
			<-awake
		}
		_ = unix.Close(wake) // holds nothing
	}()
	fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("waiting for process %d: %w", p.PID, err)
		case fds[0].Revents != 0:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// WaitInit returns nil once the leader runs the machine's init. Before, it is
// still a copy of systemd-nspawn, its parent, which may fail to find one: then
// the error is ErrGone.
func (p *Process) WaitInit(ctx context.Context) error {
	for {
		parent, err := p.status("PPid")
		if err != nil {
			return err
		}
		outer, oerr := os.Stat("/proc/" + parent + "/exe")
		inner, ierr := os.Stat(filepath.Join(p.dir.Name(), "exe"))
		if p.Ending() {
			return fmt.Errorf("process %d: the machine's init: %w", p.PID, ErrGone)
		}
		switch {
		case errors.Is(oerr, os.ErrNotExist): // the parent is another one by now
		case oerr != nil || ierr != nil:
			return fmt.Errorf("process %d: %w", p.PID, errors.Join(oerr, ierr))
		case !os.SameFile(outer, inner):
			return nil
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// halt is SIGRTMIN+3 as the C library counts, by which systemd-nspawn asks the
// init of a machine to power off.
const halt = 34 + 3

// WaitListening returns once the leader would notice being asked to power off.
// An init that does not listen yet never hears of it.
func (p *Process) WaitListening(ctx context.Context) error {
	for {
		listens, err := p.handles(halt)
		if err != nil || listens {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// Reboot asks the machine's systemd to reboot: SIGRTMIN+5 as the C library
// counts, see systemd(1).
func (p *Process) Reboot() error {
	const reboot = 34 + 5
	if err := unix.PidfdSendSignal(p.pidfd, reboot, nil, 0); err != nil {
		return gone(p.PID, err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
