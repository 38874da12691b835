package verify

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/readiness"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// errLate ends what the whole deadline cuts short.
var errLate = errors.New("the time for all of it was over")

// unitsOf are those that a check answers for: where it fails, that they failed is
// no second fault. They are what the common distributions call them.
var unitsOf = map[string][]string{
	Address: {"systemd-networkd.*", "systemd-networkd-*", "NetworkManager.*", "NetworkManager-*"},
	DNS:     {"systemd-resolved.*", "systemd-resolved-*"},
	SSH:     {"ssh.*", "ssh@*", "sshd.*", "sshd@*", "sshd-keygen*"},
}

// examination is one run of the checks.
type examination struct {
	order
	machine *machine
	signer  ssh.Signer
	report  Report
	failed  []string // units, as systemd said at the end of its boot
	tell    func(Check)
}

// examine boots the image and checks it.
func examine(ctx context.Context, o order, who users, tell func(Check)) (Report, error) {
	e := &examination{order: o, tell: tell}
	if err := e.letIn(); err != nil {
		return Report{}, err
	}
	begin := time.Now()
	var err error
	if e.machine, err = start(o, who); err != nil {
		return Report{}, err
	}
	booted := e.boot(ctx, begin)
	e.check(ctx, Address, e.address)
	e.check(ctx, DNS, e.dns, Address)
	e.check(ctx, SSH, e.ssh, Address)
	e.settle(ctx, booted)
	for _, command := range o.Target.Checks {
		e.check(ctx, Command+command, e.command(command))
	}
	e.check(ctx, CleanStop, e.stop)
	e.report.OK = !slices.ContainsFunc(e.report.Checks, func(c Check) bool { return !c.OK })
	return e.report, nil
}

// letIn lets a key in that exists for this run only, in the layer above the image.
func (e *examination) letIn() (err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if e.signer, err = ssh.NewSignerFromKey(private); err != nil {
		return err
	}
	tree, err := rootfs.Open(rootDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	const keys = "root/.ssh/authorized_keys"
	have, err := tree.ReadFile(keys, 1<<20)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("letting a key in: %w", err)
	}
	if len(have) > 0 && !bytes.HasSuffix(have, []byte("\n")) {
		have = append(have, '\n')
	}
	have = append(have, ssh.MarshalAuthorizedKey(e.signer.PublicKey())...)
	if err := tree.MkdirAll(path.Dir(keys), 0o700); err != nil {
		return fmt.Errorf("letting a key in: %w", err)
	}
	if err := tree.WriteFile(keys, have, 0o600); err != nil {
		return fmt.Errorf("letting a key in: %w", err)
	}
	return nil
}

// finding is what a check has found.
type finding struct {
	detail  string
	output  []string
	journal []string // where it is not to be the end of that of the check's units
	err     error    // nil when all is well
}

// check makes one check, unless one that it needs has failed, or the machine is
// not there.
func (e *examination) check(ctx context.Context, name string, try func(context.Context) finding, needs ...string) {
	c := Check{Name: name}
	for _, r := range e.report.Checks {
		if !r.OK && slices.Contains(needs, r.Name) {
			c.Skipped, c.Detail = true, "not tried without the check "+r.Name
		}
	}
	// That it ended by itself is a fault of an image that was up, and of no other
	// check: the stop answers for it.
	answers := name == CleanStop && e.report.BootSeconds > 0
	if e.machine.down() && !c.Skipped && !answers {
		c.Skipped, c.Detail = true, "not tried: the machine is not up"
	}
	if ctx.Err() != nil && !c.Skipped && name != CleanStop {
		c.Skipped, c.Detail = true, "not tried: "+errLate.Error()
	}
	if !c.Skipped {
		e.decide(ctx, &c, try)
	}
	e.report.Checks = append(e.report.Checks, c)
	e.tell(c)
}

func (e *examination) decide(ctx context.Context, c *Check, try func(context.Context) finding) {
	begin := time.Now()
	limit := e.Target.CheckTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	trying, end := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	if len(unitsOf[c.Name]) > 0 {
		watching.Go(func() { e.giveUp(trying, c.Name, end) })
	}
	f := try(trying)
	end(nil)
	watching.Wait()
	c.OK, c.Detail, c.Output, c.Seconds = f.err == nil, f.detail, f.output, seconds(begin)
	if c.OK {
		return
	}
	if c.Detail == "" {
		c.Detail = f.err.Error()
	}
	if c.Journal = f.journal; len(c.Journal) == 0 {
		c.Journal = e.machine.journal(ctx, unitsOf[c.Name]...)
	}
}

// hopeless is how long a check still waits for what a unit that failed would bring.
const hopeless = 5 * time.Second

// giveUp ends a check some time after a unit that it answers for has failed: what
// it waits for will hardly come.
func (e *examination) giveUp(ctx context.Context, name string, end context.CancelCauseFunc) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		if e.machine.down() {
			return
		}
		for _, unit := range readiness.FailedUnits(ctx, e.machine.leader) {
			if !belongs(unit, name) {
				continue
			}
			select {
			case <-time.After(hopeless):
				end(fmt.Errorf("%s has failed", unit))
			case <-ctx.Done():
			}
			return
		}
	}
}

// belongs tells whether a unit is one that a check answers for.
func belongs(unit, check string) bool {
	return slices.ContainsFunc(unitsOf[check], func(pattern string) bool {
		match, err := path.Match(pattern, unit)
		return match && err == nil
	})
}

func seconds(since time.Time) float64 { return time.Since(since).Round(time.Millisecond).Seconds() }

// boot is the first check. It is not told of before it is settled which of the
// units that failed another one answers for.
func (e *examination) boot(ctx context.Context, begin time.Time) Check {
	c := Check{Name: Booted}
	e.decide(ctx, &c, func(ctx context.Context) finding {
		if err := e.machine.bringUp(ctx); err != nil {
			return e.notUp(ctx, err)
		}
		rungs, err := e.prove(ctx, readiness.Target{}, readiness.LeaderRuns, readiness.SystemdUp)
		if err != nil {
			return proofFailed(err)
		}
		up := rungs[len(rungs)-1]
		e.failed = up.Failed
		e.report.BootSeconds = seconds(begin)
		if up.Warning != "" {
			return finding{err: errors.New(up.Detail + ": " + up.Warning), journal: e.journalOf(ctx, up.Failed)}
		}
		return finding{detail: up.Detail}
	})
	c.Seconds = seconds(begin)
	e.report.Checks = append(e.report.Checks, c)
	return c
}

// notUp is the finding about a machine whose first process never ran.
func (e *examination) notUp(ctx context.Context, err error) finding {
	if !errors.Is(err, errDown) {
		return finding{err: fmt.Errorf("booting it: %w", err)}
	}
	select {
	case <-e.machine.nspawn.Exited():
	case <-time.After(5 * time.Second):
		e.machine.nspawn.Kill(context.WithoutCancel(ctx))
		<-e.machine.nspawn.Exited() // it was killed
	}
	if _, err := e.machine.nspawn.Finish(); err != nil {
		return finding{err: err}
	}
	lines, _ := console.Tail(logFile, journalLines) // which says that it is unreadable by being empty
	return finding{err: fmt.Errorf("%w: %s", errDown, console.Reason(lines)), journal: lines}
}

// journalOf is the journal of units that failed.
func (e *examination) journalOf(ctx context.Context, units []string) []string {
	if len(units) == 0 {
		return nil
	}
	return e.machine.journal(ctx, units...)
}

// settle decides the first check. A unit that failed is a fault of its own unless
// the check that is about it has failed.
func (e *examination) settle(ctx context.Context, c Check) {
	// Some have failed since: those that were started again, and again.
	if !e.machine.down() {
		e.failed = readiness.FailedUnits(ctx, e.machine.leader)
	}
	var others, own []string
	for _, unit := range e.failed {
		if by := e.answersFor(unit); by != "" {
			others = append(others, fmt.Sprintf("%s: see the check %s", unit, by))
			continue
		}
		own = append(own, unit)
	}
	switch {
	case e.report.BootSeconds == 0, len(own)+len(others) == 0: // it is as it was
	case len(own) == 0:
		c.OK, c.Journal, c.Detail = true, nil, "up, but for "+strings.Join(others, ", ")
	default:
		c.OK, c.Journal, c.Detail = false, e.machine.journal(ctx, own...), "degraded: failed units: "+strings.Join(own, ", ")
	}
	e.report.Checks[0] = c
	e.tell(c)
}

// answersFor is the failed check that a unit belongs to; empty when none does.
func (e *examination) answersFor(unit string) string {
	for _, c := range e.report.Checks {
		if !c.OK && !c.Skipped && belongs(unit, c.Name) {
			return c.Name
		}
	}
	return ""
}
