package readiness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/inside"
)

// Target is what is to be proven about which machine.
type Target struct {
	Name      string
	Driver    Driver
	Interface string        // the host's end of the link; every probe is bound to it
	HostSide  netip.Addr    // the host's address there, that probes come from; zero leaves that open
	Address   netip.Addr    // the machine's
	HostKey   ssh.PublicKey // the only one that is accepted
	AnyKey    bool          // any is, as nobody but the machine can be on the link
	User      string        // who logs in; root when empty
	Logins    []Login       // each must work
	ProbeHost string        // must resolve inside; empty leaves that out
	// NoLink says that the machine is to have no link, and so no address and no
	// SSH: the proof ends with its systemd.
	NoLink bool
	// Rungs, where there are any, are the only ones that are climbed: the
	// others are taken for granted.
	Rungs []Step

	keyOnly bool // nobody logs in: see Look
}

// Driver is what is asked about the machine; a driver.Driver is one.
type Driver interface {
	Name() string
	Status(ctx context.Context, name string) (driver.Status, error)
	Console(ctx context.Context, name string, lines int) ([]string, error)
}

// Login is one way of logging in.
type Login struct {
	Label  string // "password", "key SHA256:…": what an error names
	Method ssh.AuthMethod
}

// journalLines is how much of the journal an error carries.
const journalLines = 20

// Prove climbs the rungs until the last or until ctx ends. It tells report of
// each rung in order, from the goroutine that called it. The error is an
// *Error.
func Prove(ctx context.Context, t Target, report func(Rung)) error {
	if t.User == "" {
		t.User = "root"
	}
	if e := t.incomplete(); e != nil {
		return e
	}
	p := &proof{Target: t, begin: time.Now(), results: make(chan result, 2*steps)}
	p.systemdUp = sync.OnceFunc(func() { close(p.up) })
	p.up = make(chan struct{})
	climbing, cancel := context.WithCancel(ctx)
	defer cancel()
	var climbers sync.WaitGroup
	climbers.Go(func() { p.climb(climbing, &climbers) })

	failure := p.collect(climbing, report)
	cancel()
	climbers.Wait()
	if failure == nil {
		return nil
	}
	failure.Journal = p.journal(context.WithoutCancel(ctx))
	return failure
}

// incomplete is the failure of a target that lacks what keeps its probes from
// straying.
func (t Target) incomplete() *Error {
	switch {
	case t.NoLink, !t.climbs(Addressed) && !t.climbs(Answers):
		return nil
	case t.Interface == "":
		return &Error{Rung: Addressed, Message: t.Name + " has no link of its own to be reached through", Hint: "a machine made with --private-network is entered with nspawn-build shell"}
	case !t.Address.IsValid():
		return &Error{Rung: Addressed, Message: "the address of " + t.Name + " is not known"}
	case t.HostKey == nil && !t.AnyKey && t.climbs(KeyIsOurs):
		return &Error{Rung: KeyIsOurs, Message: "the host key of " + t.Name + " is not known"}
	}
	return nil
}

// climbs tells whether a rung is one of those that are asked about.
func (t Target) climbs(s Step) bool { return len(t.Rungs) == 0 || slices.Contains(t.Rungs, s) }

// proof is one run of Prove.
type proof struct {
	Target
	begin     time.Time
	leader    int
	results   chan result // room for all of them
	up        chan struct{}
	systemdUp func()
}

// result is a rung that was reached, or that could not be.
type result struct {
	rung Rung
	err  *Error
}

func (p *proof) reached(step Step, detail string) { p.warned(step, detail, "") }

func (p *proof) warned(step Step, detail, warning string) {
	p.results <- result{rung: Rung{Step: step, Detail: detail, Warning: warning, After: p.elapsed()}}
}

func (p *proof) elapsed() time.Duration { return time.Since(p.begin).Round(time.Millisecond) }

func (p *proof) failed(e *Error) { p.results <- result{err: e} }

// collect reports rungs in order although they are reached out of order. When
// one cannot be reached, that is the failure. When time is over, the lowest
// that was not reached is.
func (p *proof) collect(ctx context.Context, report func(Rung)) *Error {
	last := Resolves
	switch {
	case len(p.Rungs) > 0:
		last = slices.Max(p.Rungs)
	case p.NoLink:
		last = SystemdUp
	case p.ProbeHost == "" && p.keyOnly:
		last = KeyIsOurs
	case p.ProbeHost == "":
		last = LoggedIn
	}
	var waiting [steps]*Rung
	for next := Started; next <= last; {
		select {
		case r := <-p.results:
			if r.err != nil {
				return r.err
			}
			waiting[r.rung.Step] = &r.rung
			for ; next <= last && (waiting[next] != nil || p.skips(next)); next++ {
				if waiting[next] != nil {
					report(*waiting[next])
				}
			}
		case <-ctx.Done():
			// What a climber can say about the same moment is better.
			select {
			case r := <-p.results:
				if r.err != nil {
					return r.err
				}
				waiting[r.rung.Step] = &r.rung
			case <-time.After(200 * time.Millisecond):
				return p.late(next, context.Cause(ctx))
			}
		}
	}
	return nil
}

// late is the failure of a rung that was not reached in time.
func (p *proof) late(step Step, cause error) *Error {
	e := &Error{Rung: step, Err: cause}
	switch step {
	case SystemdUp:
		e.Message = fmt.Sprintf("systemd in %s did not finish starting", p.Name)
		e.Hint = fmt.Sprintf("nspawn-build exec %s systemctl list-jobs shows what it waits for", p.Name)
	case Addressed:
		e.Message = fmt.Sprintf("%s did not get its address %s", p.Name, p.Address)
		e.Hint = fmt.Sprintf("nspawn-build exec %s networkctl status host0", p.Name)
	case Answers:
		e.Message = fmt.Sprintf("nothing answers at %s port 22 on %s", p.Address, p.Interface)
		e.Hint = fmt.Sprintf("nspawn-build exec %s systemctl status ssh.service sshd.service", p.Name)
	case LoggedIn:
		e.Message = fmt.Sprintf("%s did not let %s log in in time", p.Name, p.User)
		e.Hint = fmt.Sprintf("give it longer with --timeout, or see what it does: nspawn-build exec %s systemd-cgtop --iterations=1", p.Name)
	case Resolves:
		e.Message = fmt.Sprintf("%s cannot resolve %s", p.Name, p.ProbeHost)
		e.Hint = "name a server that answers with --dns"
	default:
		e.Message = fmt.Sprintf("%s did not come as far as %q", p.Name, step)
		e.Hint = fmt.Sprintf("nspawn-build logs %s", p.Name)
	}
	return e
}

// climb starts what can be waited for at the same time.
func (p *proof) climb(ctx context.Context, climbers *sync.WaitGroup) {
	if !p.awaitLeader(ctx) {
		return
	}
	climbers.Go(func() { p.watchLeader(ctx) })
	if !p.climbs(SystemdUp) {
		p.systemdUp()
	}
	climbers.Go(func() {
		if p.climbs(SystemdUp) && !p.awaitSystemd(ctx) {
			return
		}
		if p.climbs(Resolves) && p.ProbeHost != "" && !p.NoLink {
			p.resolve(ctx)
		}
	})
	if p.NoLink {
		return
	}
	climbers.Go(func() {
		if p.climbs(Addressed) && !p.awaitAddress(ctx) {
			return
		}
		if p.climbs(Answers) {
			p.connect(ctx)
		}
	})
}

// settling is how long a machine may seem stopped before it is taken to be: it
// may be rebooting, or machined be restarting.
const settling = 2 * time.Second

func (p *proof) awaitLeader(ctx context.Context) bool {
	pause := newBackoff()
	seen := time.Now()
	for told := false; ; {
		status, err := p.Driver.Status(ctx, p.Name)
		if err != nil {
			p.failed(&Error{Rung: Started, Message: "the state of " + p.Name + " is not known", Err: err})
			return false
		}
		if !told {
			told = true
			p.reached(Started, "by the "+p.Driver.Name()+" driver")
		}
		if status.State == driver.Running && status.Leader != 0 {
			p.leader = status.Leader
			p.reached(LeaderRuns, fmt.Sprintf("process %d", status.Leader))
			return true
		}
		if time.Since(seen) > settling {
			p.failed(p.down(nil))
			return false
		}
		if !pause.wait(ctx) {
			return false
		}
	}
}

// down is the failure of a machine whose leader is not running.
func (p *proof) down(cause error) *Error {
	return &Error{
		Rung: LeaderRuns, Message: fmt.Sprintf("%s started and ended again", p.Name),
		Hint: fmt.Sprintf("read what it printed: nspawn-build logs %s", p.Name), Err: cause,
	}
}

// watchLeader fails the proof as soon as the machine goes down, whatever the
// others wait for.
func (p *proof) watchLeader(ctx context.Context) {
	l, err := leader.Open(p.leader)
	if err != nil {
		p.failed(p.down(err))
		return
	}
	defer func() { _ = l.Close() }()
	if err := l.Wait(ctx); err == nil {
		p.failed(p.down(nil))
	}
}

// journal reads the end of the machine's journal or, failing that, what it
// printed.
func (p *proof) journal(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if p.leader != 0 {
		out, code, err := p.run(ctx, "journalctl", "--boot", "--quiet", "--no-pager", "--output=short-monotonic", fmt.Sprintf("--lines=%d", journalLines))
		if lines := console.Lines(out); err == nil && code == 0 && len(lines) > 0 {
			return console.Last(lines, journalLines)
		}
	}
	lines, err := p.Driver.Console(ctx, p.Name, journalLines)
	if err != nil {
		return []string{"the console cannot be read: " + err.Error()}
	}
	return lines
}

// run runs a command in the machine.
func (p *proof) run(ctx context.Context, argv ...string) (string, int, error) {
	out, code, err := inside.Command{Leader: p.leader, Argv: argv}.Output(ctx, 1<<20)
	return string(out), code, err
}

// isDown tells whether an error says that the machine went down.
func isDown(err error) bool {
	return errors.Is(err, leader.ErrGone) || errors.Is(err, inside.ErrStopped)
}

// backoff waits a little longer each time, 5 ms at first and 100 ms at most.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{5 * time.Millisecond} }

// wait tells whether there is time for another try.
func (b *backoff) wait(ctx context.Context) bool {
	select {
	case <-time.After(b.next):
	case <-ctx.Done():
		return false
	}
	b.next = min(2*b.next, 100*time.Millisecond)
	return true
}
