package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/readiness"
)

// prove climbs some of readiness' rungs.
func (e *examination) prove(ctx context.Context, t readiness.Target, rungs ...readiness.Step) ([]readiness.Rung, error) {
	t.Name, t.Driver, t.Interface = e.machine.name, e.machine, e.machine.link
	t.HostSide, t.Address, t.AnyKey, t.Rungs = hostSide.Addr(), machineSide.Addr(), true, rungs
	var reached []readiness.Rung
	err := readiness.Prove(ctx, t, func(r readiness.Rung) { reached = append(reached, r) })
	return reached, err
}

// proofFailed is the finding about a rung that was not reached. Its hints are for
// machines that one can look at.
func proofFailed(err error) finding {
	var e *readiness.Error
	if !errors.As(err, &e) {
		return finding{err: err}
	}
	return finding{err: e}
}

func (e *examination) address(ctx context.Context) finding {
	rungs, err := e.prove(ctx, readiness.Target{}, readiness.LeaderRuns, readiness.Addressed)
	if err != nil {
		return proofFailed(err)
	}
	return finding{detail: rungs[len(rungs)-1].Detail}
}

func (e *examination) dns(ctx context.Context) finding {
	rungs, err := e.prove(ctx, readiness.Target{ProbeHost: probeHost}, readiness.LeaderRuns, readiness.Resolves)
	if err != nil {
		return proofFailed(err)
	}
	last := rungs[len(rungs)-1]
	switch {
	case last.Warning != "": // that the room resolves no name means nothing
		return finding{err: fmt.Errorf("%s does not resolve in it", probeHost)}
	case !strings.HasSuffix(last.Detail, " is "+probeAddress.String()):
		return finding{err: fmt.Errorf("%s, not %s", last.Detail, probeAddress)}
	}
	return finding{detail: last.Detail}
}

func (e *examination) ssh(ctx context.Context) finding {
	t := readiness.Target{Logins: []readiness.Login{{Label: "key", Method: ssh.PublicKeys(e.signer)}}}
	rungs, err := e.prove(ctx, t, readiness.LeaderRuns, readiness.Answers, readiness.KeyIsOurs, readiness.LoggedIn)
	if err != nil {
		return proofFailed(err)
	}
	var details []string
	for _, r := range rungs {
		switch r.Step {
		case readiness.Answers:
			details = append(details, r.Detail)
		case readiness.KeyIsOurs:
			details = append(details, "host key "+r.Detail)
		case readiness.LoggedIn:
			details = append(details, "login "+r.Detail)
		}
	}
	return finding{detail: strings.Join(details, ", ")}
}

// outputLimit bounds what is kept of what a command prints, in bytes, and
// outputLines in lines.
const (
	outputLimit = 256 << 10
	outputLines = 50
)

func (e *examination) command(text string) func(context.Context) finding {
	return func(ctx context.Context) finding {
		out := &tail{limit: outputLimit}
		code, err := inside.Command{
			Leader: e.machine.leader, Argv: []string{"/bin/sh", "-c", text}, Stdout: out, Stderr: out,
		}.Run(ctx)
		f := finding{output: console.Last(console.Lines(out.String()), outputLines), err: err}
		switch {
		case ctx.Err() != nil:
			f.err = fmt.Errorf("it did not end: %w", context.Cause(ctx))
		case err == nil && code != 0:
			f.err = fmt.Errorf("it ended with status %d", code)
		case err == nil:
			f.detail = "it ended with status 0"
		}
		return f
	}
}

// errByItself says of a machine that was up that nobody has asked it to stop.
var errByItself = errors.New("it ended by itself, before it was asked to power off")

// stopped is the finding about a machine that was not asked to stop and has.
func (e *examination) stopped() finding {
	code, err := e.machine.nspawn.Finish()
	if err != nil {
		return finding{err: err}
	}
	return finding{err: fmt.Errorf("%w: systemd-nspawn ended with status %d", errByItself, code)}
}

// leaving tells whether the machine is about to stop, or has, though it was not asked to.
func (e *examination) leaving(ctx context.Context) bool {
	if e.machine.ended() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	state, _, err := e.machine.run(ctx, "systemctl", "is-system-running")
	return e.machine.ended() || err == nil && strings.TrimSpace(state) == "stopping"
}

// stop asks the machine to power off, and ends it by force when it does not.
func (e *examination) stop(ctx context.Context) finding {
	// That the time for all is over is no reason to pull its plug.
	limit := e.Target.CheckTimeout
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	begin := time.Now()
	n := e.machine.nspawn
	leaving := e.leaving(ctx)
	if !leaving {
		go n.PowerOff(ctx)
	}
	select {
	case <-n.Exited():
		if leaving {
			return e.stopped()
		}
	case <-ctx.Done():
		f := finding{err: fmt.Errorf("it did not power off within %s and was ended by force", limit)}
		if jobs := e.machine.jobs(context.WithoutCancel(ctx)); len(jobs) > 0 {
			f.err = fmt.Errorf("%w: it waited for %s", f.err, strings.Join(jobs, ", "))
			f.journal = e.machine.journal(ctx, jobs...)
		} else {
			// Its systemd has done its part; what it did since is on the console.
			f.journal, _ = console.Tail(logFile, journalLines)
		}
		n.Kill(context.WithoutCancel(ctx))
		return f
	}
	code, err := n.Finish()
	switch {
	case err != nil:
		return finding{err: err}
	case code != 0:
		return finding{err: fmt.Errorf("systemd-nspawn ended with status %d", code)}
	}
	return finding{detail: fmt.Sprintf("powered off after %.1f s", time.Since(begin).Seconds())}
}
