package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/driver/systemd"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/readiness"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// tailLines is how much of a journal a finding carries.
const tailLines = 20

// stopped says of a machine that does not run whether it failed to.
func (p *patient) stopped(ctx context.Context) []Finding {
	const id = "machine.state"
	start := "nspawn-build start " + p.m.Name
	failed, what := false, "it does not run, and nobody stopped it"
	if p.m.Driver == spec.DriverSystemd && p.bus != nil {
		state, err := p.bus.UnitProperty(ctx, systemd.Unit(p.m.Name), "Unit", "ActiveState")
		if err != nil {
			return one(untold(id, err))
		}
		failed, what = state == "failed", "it failed to run the last time"
	}
	tail, err := p.House.Console(ctx, p.m.Name, tailLines)
	if err != nil {
		tail = nil // there is nothing to read
	}
	if p.m.Driver == spec.DriverDirect {
		failed = len(tail) > 0 // stopping it removes what it printed
	}
	if !failed {
		return one(note(id, "it is stopped", "", start))
	}
	if reason := console.Reason(tail); reason != "" {
		what += ": " + reason
	}
	f := broken(Boot, id, what, "what it printed last says why", start)
	f.Detail = tail
	if p.m.Driver == spec.DriverDirect { // it may have been powered off from inside
		f.Severity, f.area = Warning, nowhere
	}
	return one(f)
}

// looking is how long a machine may take to be seen whole.
const looking = 15 * time.Second

// inside looks at a machine that runs, from within and, where its link is as it
// should be, over SSH.
func (p *patient) inside(ctx context.Context, d driver.Driver, reachable bool) []Finding {
	found := p.sshd(ctx)
	// A socket whose sshd ends at once takes no more for a while: it is not
	// knocked at.
	dead := slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == Error })
	if dead || !reachable || p.private() {
		return append(found, p.system(ctx)...)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(p.m.HostKey))
	if err != nil {
		return append(found, untold("machine.host-key", err))
	}
	target := readiness.Target{
		Name: p.m.Name, Driver: d, Interface: p.m.Interface, HostSide: p.m.HostSide.Addr(), Address: p.m.Address.Addr(), HostKey: key,
	}
	if p.m.Facts != nil && machines.Reaches(p.m) && !p.nameless[p.m.Name] {
		target.ProbeHost = p.m.Facts.ProbeHost
	}
	look, cancel := context.WithTimeoutCause(ctx, looking, fmt.Errorf("not within %s", looking))
	defer cancel()
	err = readiness.Look(look, target, func(r readiness.Rung) {
		f := ok(rungID(r.Step), words(r.Step.String()+": "+r.Detail))
		if r.Warning != "" {
			f = p.warned(r)
		}
		found = append(found, f)
	})
	var e *readiness.Error
	switch {
	case errors.As(err, &e):
		found = append(found, p.missed(ctx, e))
	case err != nil:
		found = append(found, untold("machine.ready", err))
	}
	return found
}

var rungIDs = map[readiness.Step]string{
	readiness.Started: "machine.state", readiness.LeaderRuns: "machine.state", readiness.SystemdUp: "machine.systemd",
	readiness.Addressed: "machine.address", readiness.Answers: "machine.ssh", readiness.KeyIsOurs: "machine.host-key",
	readiness.LoggedIn: "machine.login", readiness.Resolves: "machine.names",
}

func rungID(s readiness.Step) string { return rungIDs[s] }

// warned is a rung that was reached, and with what it lacks.
func (p *patient) warned(r readiness.Rung) Finding {
	f := warning(rungID(r.Step), words(r.Warning), "", "")
	if units, ok := strings.CutPrefix(r.Warning, "failed units: "); ok {
		f.ID, f.Why = "machine.failed-units", "what they are for does not work in the machine"
		f.Fix = fmt.Sprintf("nspawn-build exec %s systemctl restart %s", p.m.Name, strings.ReplaceAll(units, ",", ""))
	}
	return f
}

// missed is a rung that was not reached, with the command that most likely
// mends it.
func (p *patient) missed(ctx context.Context, e *readiness.Error) Finding {
	area, why, fix := Reach, "", p.restartSSH(ctx)
	switch e.Rung {
	case readiness.Started, readiness.LeaderRuns, readiness.SystemdUp:
		area, why = Boot, "its services are not there, or not all"
		fix = p.exec("systemctl", "list-jobs")
	case readiness.Addressed:
		why = "nothing reaches it"
		if f := p.m.Facts; f != nil && len(f.NetworkUnits) > 0 {
			fix = p.exec("systemctl", append([]string{"restart"}, f.NetworkUnits...)...)
		}
	case readiness.Answers:
		why = "SSH is refused"
	case readiness.KeyIsOurs:
		why = "ssh refuses a machine that shows another key than the one on record"
	case readiness.Resolves:
		why, fix = "no program in it finds a host by name", p.exec("systemctl", "restart", "systemd-resolved.service")
		if f := p.m.Facts; f == nil || len(f.ResolverUnits) == 0 {
			fix = p.exec("cat", "/etc/resolv.conf")
		}
	case readiness.LoggedIn:
	}
	f := broken(area, rungID(e.Rung), words(e.Error()), why, fix)
	f.Detail = e.Journal
	return f
}

// exec is the command that runs one in the machine.
func (p *patient) exec(program string, args ...string) string {
	line := "nspawn-build exec " + p.m.Name
	for _, a := range append([]string{program}, args...) {
		line += " " + quote(a)
	}
	return line
}

// system asks a machine without a link how it is.
func (p *patient) system(ctx context.Context) []Finding {
	const id = "machine.systemd"
	said, err := ask(ctx, p.status.Leader, "systemctl", "is-system-running")
	state := strings.TrimSpace(said.out)
	switch {
	case err != nil:
		return one(untold(id, err))
	case state == "running":
		return one(ok(id, "systemd up: running"))
	case state == "degraded":
		failed, err := ask(ctx, p.status.Leader, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
		if err != nil {
			return one(untold(id, err))
		}
		var units []string
		for line := range strings.Lines(failed.out) {
			if f := strings.Fields(line); len(f) > 0 && plain.MatchString(f[0]) {
				units = append(units, f[0])
			}
		}
		return one(p.warned(readiness.Rung{Step: readiness.SystemdUp, Warning: "failed units: " + strings.Join(units, ", ")}))
	}
	return one(warning(id, "systemd in it is "+words(state), "its services are not there, or not all", p.exec("systemctl", "list-jobs")))
}

// answerOf is what a command in a machine said.
type answerOf struct {
	out, err string
	code     int
}

// ask runs a command in a machine, and takes no more of its answer than needed.
func ask(ctx context.Context, pid int, argv ...string) (answerOf, error) {
	ctx, cancel := context.WithTimeout(ctx, looking)
	defer cancel()
	var complaint bounded
	out, code, err := inside.Command{Leader: pid, Argv: argv, Stderr: &complaint}.Output(ctx, 1<<16)
	return answerOf{string(out), string(complaint), code}, err
}

// bounded keeps the first of what is written to it.
type bounded []byte

func (b *bounded) Write(p []byte) (int, error) {
	const most = 1 << 16
	*b = append(*b, p[:min(len(p), most-len(*b))]...)
	return len(p), nil
}

// complaintForm is how sshd names the line of a file that it does not take.
var complaintForm = regexp.MustCompile(`^(/etc/ssh/[A-Za-z0-9._/-]+):? line ([0-9]+): (.*)$`)

// sshd has the machine's sshd read its configuration, as it will when it is
// started the next time.
func (p *patient) sshd(ctx context.Context) []Finding {
	const id = "machine.sshd-config"
	said, err := ask(ctx, p.status.Leader, "sshd", "-t")
	switch {
	case err != nil:
		return one(untold(id, err))
	case said.code == inside.ExitNotFound:
		again := p.anew(true)
		return one(broken(Reach, id, "it has no sshd", again.after("SSH is refused. What is in it is lost unless it is copied first"), again.command))
	case said.code == 0, strings.Contains(said.err, "privilege separation directory"): // made when it starts
		return append(one(ok(id, "sshd takes its configuration")), p.rootLogin(ctx)...)
	}
	lines := console.Lines(said.err)
	f := broken(Reach, id, "sshd refuses its configuration: "+strings.Join(lines[:min(1, len(lines))], ""),
		"it does not start again, and SSH is refused", p.commentOut(ctx, lines))
	f.Detail = console.Last(lines, tailLines)
	return one(f)
}

// commentOut is the command that puts the lines out of force that sshd
// complains about, keeps the file as it was beside it, and restarts sshd.
func (p *patient) commentOut(ctx context.Context, complaints []string) string {
	edits := map[string]string{}
	var files []string
	for _, c := range complaints {
		if m := complaintForm.FindStringSubmatch(c); m != nil && !strings.Contains(m[1], "..") {
			if edits[m[1]] == "" {
				files = append(files, m[1])
			}
			edits[m[1]] += m[2] + "s/^/#/;"
		}
	}
	slices.Sort(files)
	var steps []string
	for _, f := range files {
		steps = append(steps, p.exec("sed", "-i.broken", "-e", edits[f], f))
	}
	if len(steps) == 0 {
		return p.exec("sshd", "-t")
	}
	return strings.Join(append(steps, p.restartSSH(ctx)), " && ")
}

// rootLogin asks sshd whether root may log in from this host.
func (p *patient) rootLogin(ctx context.Context) []Finding {
	const id = "machine.root-login"
	from := p.m.HostSide.Addr().String()
	said, err := ask(ctx, p.status.Leader, "sshd", "-T", "-C", "user=root,host="+from+",addr="+from)
	if err != nil || said.code != 0 {
		return nil // what is wrong is said elsewhere
	}
	for line := range strings.Lines(said.out) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "permitrootlogin ")
		if ok && (value == "no" || value == "forced-commands-only") {
			return one(broken(Reach, id, "sshd lets root not log in: PermitRootLogin is "+value, "ssh is refused, whatever the key", p.exec("grep", "-rin", "PermitRootLogin", "/etc/ssh")))
		}
	}
	return one(ok(id, "sshd lets root log in"))
}
