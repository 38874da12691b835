package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/addr"
	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/driver/console"
	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/driver/nspawn"
	"github.com/nspawn-build/nspawn-build/core/driver/veth"
	"github.com/nspawn-build/nspawn-build/core/inside"
)

// consoleLimit bounds what is kept of what the machine prints, in bytes.
const consoleLimit = 1 << 20

// machine is the image as it runs.
type machine struct {
	name   string
	link   string // our end of its link
	nspawn *nspawn.Process
	log    *console.Log
	leader int
	served []io.Closer
}

// arguments are what systemd-nspawn is told: what it does by itself for a machine
// that is booted, without the host's names and time zone, which are not the image's.
func arguments(name string, who users, systemd int) []string {
	args := []string{
		"--quiet", "--register=no", "--keep-unit", "--boot", "--settings=no",
		"--link-journal=no", "--resolv-conf=off", "--timezone=off",
		"--console=read-only", "--network-veth",
		"--machine=" + name, "--directory=" + rootDir,
	}
	// Not -U, which on a kernel without user namespaces would run the image's
	// root as ours.
	const ownershipSince = 249
	switch {
	case who.base != 0:
		return append(args, fmt.Sprintf("--private-users=%d:%d", who.base, rangeSize))
	case systemd > 0 && systemd < ownershipSince:
		return append(args, "--private-users=pick", "--private-users-chown")
	}
	return append(args, "--private-users=pick", "--private-users-ownership=auto")
}

// start starts the machine, in a cgroup of its own below the room's.
func start(o order, who users) (*machine, error) {
	hierarchies, err := cgroup.Find()
	if err != nil {
		return nil, err
	}
	m := &machine{name: o.Target.Name, link: addr.LinkName(o.Target.Name, addr.SchemeOf(o.Systemd))}
	if m.log, err = console.Create(logFile, consoleLimit); err != nil {
		return nil, err
	}
	group := hierarchies.Group(o.Group + machineGr)
	if err := group.Create(); err != nil {
		return nil, err
	}
	c := nspawn.Command{
		Machine: m.name, Arguments: arguments(m.name, who, o.Systemd),
		Notify: notify, Identity: identity, Group: group, Console: m.log,
	}
	if scheme := addr.Pin(m.name, m.link); scheme != "" {
		c.Env = []string{"NET_NAMING_SCHEME=" + scheme}
	}
	// By an option systemd-nspawn cannot: its payload may not write its own.
	back := expendable(machineBadness)
	defer back()
	m.nspawn, err = c.Start()
	return m, err
}

// errDown says that the machine is not there (any more).
var errDown = errors.New("it ended before it was up")

// bringUp waits until the machine's first process runs, and has our end of the
// link answer.
func (m *machine) bringUp(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-m.nspawn.Exited():
			cancel(errDown)
		case <-ctx.Done():
		}
	}()
	pid, err := m.nspawn.WaitInit(ctx)
	if errors.Is(err, leader.ErrGone) {
		return errDown
	}
	if err != nil {
		return err
	}
	m.leader = pid
	if err := veth.Wait(ctx, m.link); err != nil {
		return err
	}
	if err := veth.Configure(m.link, hostSide); err != nil {
		return err
	}
	dhcp, err := serveDHCP(m.link)
	if err != nil {
		return err
	}
	dns, err := serveDNS(hostSide.Addr())
	if err != nil {
		return errors.Join(err, dhcp.Close())
	}
	m.served = []io.Closer{dhcp, dns}
	return nil
}

// down tells whether the machine has ended, or never came as far as its init.
func (m *machine) down() bool { return m.leader == 0 || m.ended() }

func (m *machine) ended() bool {
	select {
	case <-m.nspawn.Exited():
		return true
	default:
		return false
	}
}

// What follows is readiness.Driver.

// Name is what a proof says that the machine was started by.
func (*machine) Name() string { return "verify" }

// Status tells whether it runs.
func (m *machine) Status(context.Context, string) (driver.Status, error) {
	if m.down() {
		return driver.Status{State: driver.Stopped}, nil
	}
	return driver.Status{State: driver.Running, Leader: m.leader}, nil
}

// Console is the end of what it printed.
func (*machine) Console(_ context.Context, _ string, lines int) ([]string, error) {
	return console.Tail(logFile, lines)
}

// journalLines is how much of the journal a check that failed carries.
const journalLines = 20

// journal is the end of what the journal has of some units. Where it has nothing
// of them it is that of all, and failing that what the machine printed.
func (m *machine) journal(ctx context.Context, units ...string) []string {
	// It is wanted the more when time was over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	argv := []string{
		"journalctl", "--boot", "--quiet", "--no-pager", "--output=short-monotonic",
		fmt.Sprintf("--lines=%d", journalLines),
	}
	of := argv
	for _, unit := range units {
		of = append(of[:len(of):len(of)], "--unit="+unit)
	}
	for _, try := range [][]string{of, argv} {
		if m.down() {
			break
		}
		out, code, err := m.run(ctx, try...)
		if lines := console.Lines(out); err == nil && code == 0 && len(lines) > 0 {
			return console.Last(lines, journalLines)
		}
	}
	lines, err := console.Tail(logFile, journalLines)
	if err != nil {
		return []string{"the console cannot be read: " + err.Error()}
	}
	return lines
}

// run runs a command in the machine and returns what it printed.
func (m *machine) run(ctx context.Context, argv ...string) (string, int, error) {
	out, code, err := inside.Command{Leader: m.leader, Argv: argv}.Output(ctx, 1<<20)
	return string(out), code, err
}

// jobs are the units that the machine's systemd has something to do with still.
func (m *machine) jobs(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, code, err := m.run(ctx, "systemctl", "list-jobs", "--plain", "--no-legend", "--no-pager", "--full")
	if err != nil || code != 0 {
		return nil
	}
	var units []string
	for _, line := range console.Lines(out) {
		// What runs is what the others wait for.
		if f := strings.Fields(line); len(f) == 4 && f[3] == "running" {
			units = append(units, f[1])
		}
	}
	return units
}
