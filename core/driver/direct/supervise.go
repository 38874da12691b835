package direct

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/driver/leftover"
	"github.com/nspawn-build/nspawn-build/core/hostlink"
)

// exitReboot is the status by which systemd-nspawn, under --keep-unit, says
// that the machine wants to be started again.
const exitReboot = 133

// leftoverGrace is how long what an earlier supervisor left behind may take to
// power off before it is killed.
const leftoverGrace = 20 * time.Second

// supervisor is the one process that runs a machine.
type supervisor struct {
	*Driver
	files
	machine driver.Machine
	group   cgroup.Group
	report  *reporter
	log     *console.Log

	link *hostlink.Keeper // what this host does for the machine's network
}

// Supervise runs the machine of that name, which Start described in the
// runtime directory, until it powers off. It belongs into a process of its
// own, of which it takes over the signals: SIGTERM, or the end of ctx, asks the
// machine to power off, and SIGUSR1 or a second SIGTERM ends it by force. The
// error is about the machine not coming up.
func Supervise(ctx context.Context, c Config, name string) error {
	d := New(c)
	f, err := d.files(name)
	if err != nil {
		return err
	}
	report := openReporter()
	defer report.close()

	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	lock, err := acquire(wait, f.lock())
	cancel()
	if errors.Is(err, errHeld) {
		report.say(news{Busy: true})
		return fmt.Errorf("supervising %s: %w", name, err)
	}
	if err == nil {
		s := &supervisor{Driver: d, files: f, report: report}
		err = errors.Join(s.run(ctx), lock.Close())
	}
	switch {
	case err == nil:
		report.unlessTold(news{Error: "it was stopped while it was starting"})
		return nil
	case errors.Is(err, driver.ErrEnded):
		lines, err := console.Tail(f.console(), 10)
		if err != nil {
			lines = []string{err.Error()}
		}
		report.say(news{Ended: true, Error: console.Reason(lines)})
	default:
		report.say(news{Error: err.Error()})
	}
	return fmt.Errorf("supervising %s: %w", name, err)
}

func (s *supervisor) run(ctx context.Context) (err error) {
	if err := readJSON(s.description(), &s.machine); err != nil {
		return err
	}
	if s.group, err = group(s.machine.Name); err != nil {
		return err
	}
	if err := s.clean(ctx, s.machine, leftoverGrace); err != nil {
		return fmt.Errorf("clearing away what was left behind: %w", err)
	}
	if err := writeJSON(s.state(), state{Supervisor: os.Getpid()}); err != nil {
		return err
	}
	if s.log, err = console.Create(s.console(), s.config.ConsoleLimit); err != nil {
		return err
	}
	stop := listen(ctx)
	defer stop.ignore()

	if s.link, err = s.openLink(ctx); err != nil {
		return errors.Join(err, s.removeFiles(), s.log.Close())
	}
	kept, letGo := s.keepLink(ctx)

	// The end of ctx is one of the wishes that stop knows of; it must not
	// keep the machine from powering off in order.
	life := context.WithoutCancel(ctx)
	err = s.bootUntilOff(life, stop)
	letGo()
	<-kept

	// Whatever ended it: nothing is left but the console.
	last, cancel := context.WithTimeout(life, 2*killing)
	defer cancel()
	return errors.Join(err, s.clean(last, s.machine, 0), s.removeFiles(), s.log.Close())
}

// openLink puts the rules of the machine's network in place before there is
// anything that could send a packet.
func (s *supervisor) openLink(ctx context.Context) (*hostlink.Keeper, error) {
	warn := func(message string) { s.report.say(news{Warning: message}) }
	c := s.hostlinks(warn)
	c.Next = func() (hostlink.Link, error) {
		var m driver.Machine
		err := readJSON(s.description(), &m)
		return linkOf(m), err
	}
	return hostlink.Open(ctx, c, linkOf(s.machine))
}

// keepLink looks after them until the machine is off.
func (s *supervisor) keepLink(ctx context.Context) (kept <-chan struct{}, letGo func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.link.Keep(ctx)
	}()
	return done, func() {
		cancel()
		s.link.Close()
	}
}

// bootUntilOff boots the machine, and again as often as it reboots.
func (s *supervisor) bootUntilOff(ctx context.Context, stop *stopper) error {
	for {
		begin := time.Now()
		code, err := s.boot(ctx, stop)
		if err != nil || code != exitReboot || stop.wasAsked() {
			return err
		}
		// A machine that reboots all the time must not eat a CPU.
		if time.Since(begin) < time.Second {
			select {
			case <-time.After(time.Second):
			case <-stop.asked:
				return nil
			}
		}
		if err := errors.Join(s.clearGroup(ctx), leftover.Remove(s.machine.Name), s.link.Renew(ctx)); err != nil {
			return err
		}
	}
}

// clearGroup removes the groups that a boot made below ours, which the next
// could not use: it may choose other user ids. Whatever the machine's end left in
// them is ended.
func (s *supervisor) clearGroup(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, killing)
	defer cancel()
	if err := s.group.Kill(ctx); err != nil {
		return err
	}
	return s.group.Remove(ctx)
}

// boot runs systemd-nspawn once and returns its exit status.
func (s *supervisor) boot(ctx context.Context, stop *stopper) (code int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n, err := s.launch()
	if err != nil {
		return 0, err
	}
	up := make(chan error, 1)
	go func() { up <- s.bringUp(ctx, n) }()

	var failure error
	var overdue <-chan time.Time
	asked, insisted := stop.asked, stop.insisted
	isUp := false
	for {
		select {
		case failure = <-up:
			up, isUp = nil, failure == nil
			switch {
			case failure == nil:
			case errors.Is(failure, leader.ErrGone):
				// systemd-nspawn is about to end, and to say why.
				overdue = time.After(5 * time.Second)
			default:
				n.Kill(ctx)
			}
		case <-asked:
			asked = nil
			overdue = time.After(s.graceAsked())
			go n.PowerOff(ctx)
		case <-insisted:
			insisted = nil
			n.Kill(ctx)
		case <-overdue:
			overdue = nil
			n.Kill(ctx)
		case <-n.Exited():
			cancel()
			if up != nil {
				failure = <-up
				isUp = failure == nil
			}
			return outcome(n, isUp, stop.wasAsked(), failure)
		}
	}
}

// graceAsked is what Stop left for us to read, or our own.
func (s *supervisor) graceAsked() time.Duration {
	var grace time.Duration
	if err := readJSON(s.grace(), &grace); err != nil {
		return s.config.Grace
	}
	return grace
}

// stopper turns signals, and the end of a context, into at most two wishes.
type stopper struct {
	asked, insisted chan struct{}
	signals         chan os.Signal
}

func listen(ctx context.Context) *stopper {
	s := &stopper{make(chan struct{}), make(chan struct{}), make(chan os.Signal, 4)}
	// A hangup is caught too, and means nothing: there is no terminal. Who
	// else in this process listens might end it before the machine has ended.
	signals := []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1}
	signal.Reset(signals...)
	signal.Notify(s.signals, signals...)
	go s.follow(ctx)
	return s
}

func (s *stopper) follow(ctx context.Context) {
	done, count := ctx.Done(), 0
	for {
		select {
		case sig, ok := <-s.signals:
			if !ok {
				return
			}
			if sig == unix.SIGHUP {
				continue
			}
			count++
			if (count > 1 || sig == unix.SIGUSR1) && !is(s.insisted) {
				close(s.insisted)
			}
		case <-done:
			done = nil
		}
		if !s.wasAsked() {
			close(s.asked)
		}
	}
}

func (s *stopper) wasAsked() bool { return is(s.asked) }

// is tells whether a wish was made.
func is(wish chan struct{}) bool {
	select {
	case <-wish:
		return true
	default:
		return false
	}
}

func (s *stopper) ignore() {
	signal.Stop(s.signals)
	close(s.signals)
}
