// Package doctor finds out what is wrong with this host and with the machines
// on it: one small check for each thing that can be, one file for each family
// of them. Every finding says what is so, why that matters, and the command
// that mends it.
//
// Examining changes nothing. Repairing does only what is ours to do and can be
// taken back: it puts back files of ours, removes what runs that were killed
// left, and names a link again. It never starts or stops a service of the
// host, and never touches the firewall or a file of somebody else: the command
// for these is said, not run.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Severity ranks a finding.
type Severity string

// The severities.
const (
	OK      Severity = "ok"
	Note    Severity = "note"    // nothing is wrong, but good to know
	Warning Severity = "warning" // something is not as it should be, and all the same works
	Error   Severity = "error"   // something does not work
)

// Area is what an error keeps from working.
type Area string

// The areas.
const (
	Host    Area = "host"    // the host: making machines, or all of them
	Boot    Area = "boot"    // a machine: it does not run, or would not
	Reach   Area = "reach"   // a machine: it runs and cannot be worked with
	nowhere Area = "nowhere" // nothing
)

// Finding is one thing that was looked at.
type Finding struct {
	ID       string   `json:"id"`                // "host.networkd": what scripts go by
	Machine  string   `json:"machine,omitempty"` // empty for the host
	Severity Severity `json:"severity"`
	What     string   `json:"what"`              // one line
	Why      string   `json:"why,omitempty"`     // why it matters
	Fix      string   `json:"fix,omitempty"`     // the shell command that mends it
	Fixable  bool     `json:"fixable,omitempty"` // --fix may do it
	Detail   []string `json:"detail,omitempty"`  // what the machine said

	area   Area
	repair func(ctx context.Context) error
}

// Report is all that was found: the host first, then each machine by name.
type Report struct {
	Findings []Finding `json:"findings"`
}

// Count is how many findings are of a severity.
func (r Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Worst is the first area in which there is an error, empty where there is
// none. What is wrong with the host comes first: it may be the cause.
func (r Report) Worst() Area {
	for _, area := range []Area{Host, Boot, Reach} {
		if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == Error && f.area == area }) {
			return area
		}
	}
	return ""
}

// Doctor examines. Machine is the only machine that is looked at; empty means
// all of them.
type Doctor struct {
	House     *machines.House
	Directory string // where trees are kept unless the user says otherwise
	Machine   string
}

// exam is one look at everything.
type exam struct {
	*Doctor
	machines []store.Machine // all on record
	broken   error           // records that cannot be read
	bus      *host.Bus       // nil where there is none
	busError error
	nameless map[string]bool // machines in which no name resolves, for a firewall drops what that takes
}

// Examine looks at the host and the machines, and changes nothing.
func (d *Doctor) Examine(ctx context.Context) (r Report, err error) {
	e := &exam{Doctor: d}
	e.machines, e.broken = d.House.Store.List()
	if d.Machine != "" {
		if _, err := d.House.Store.Load(d.Machine); err != nil {
			return Report{}, err
		}
	}
	if d.House.Host.Systemd {
		if e.bus, e.busError = host.Connect(ctx); e.busError == nil {
			defer func() { err = errors.Join(err, e.bus.Close()) }()
		}
	}
	for _, look := range []func(context.Context) []Finding{
		e.nspawn, e.controlGroups, e.users, e.confinement,
		e.networkd, e.resolved, e.forwarding, e.firewall,
		e.directories, e.disk, e.cache, e.plugins, e.tools, e.orphans,
	} {
		r.Findings = append(r.Findings, look(ctx)...)
	}
	each, err := e.everyMachine(ctx)
	r.Findings = append(r.Findings, each...)
	if err == nil {
		err = ctx.Err()
	}
	return r, err
}

// atOnce is how many machines are looked at at the same time.
const atOnce = 4

func (e *exam) everyMachine(ctx context.Context) ([]Finding, error) {
	found := make([][]Finding, len(e.machines))
	var looking errgroup.Group
	looking.SetLimit(atOnce)
	for i, m := range e.machines {
		if e.Machine == "" || e.Machine == m.Name {
			looking.Go(func() error {
				found[i] = e.machine(ctx, m)
				return nil
			})
		}
	}
	err := looking.Wait()
	return slices.Concat(found...), err
}

// Repair is what became of one finding that --fix may mend.
type Repair struct {
	ID      string `json:"id"`
	Machine string `json:"machine,omitempty"`
	What    string `json:"what"`            // of the finding
	Error   string `json:"error,omitempty"` // why it is not mended; empty when it is
}

// Repair does what is safe for each finding of a report, in its order.
func (d *Doctor) Repair(ctx context.Context, r Report) []Repair {
	var done []Repair
	for _, f := range r.Findings {
		if f.repair == nil || f.Severity == OK || ctx.Err() != nil {
			continue
		}
		did := Repair{ID: f.ID, Machine: f.Machine, What: f.What}
		if err := f.repair(ctx); err != nil {
			did.Error = strings.Join(strings.Fields(err.Error()), " ")
		}
		done = append(done, did)
	}
	return done
}

// fixable makes a finding one that --fix mends.
func (f Finding) fixable(repair func(ctx context.Context) error) Finding {
	f.Fixable, f.repair = true, repair
	f.Fix = strings.TrimSpace("nspawn-build doctor --fix " + f.Machine)
	return f
}

func ok(id, what string) Finding { return Finding{ID: id, Severity: OK, What: what, area: nowhere} }

func note(id, what, why, fix string) Finding {
	return Finding{ID: id, Severity: Note, What: what, Why: why, Fix: fix, area: nowhere}
}

func warning(id, what, why, fix string) Finding {
	return Finding{ID: id, Severity: Warning, What: what, Why: why, Fix: fix, area: nowhere}
}

// fault is an error of the host.
func fault(id, what, why, fix string) Finding {
	return Finding{ID: id, Severity: Error, What: what, Why: why, Fix: fix, area: Host}
}

// untold is a check that could not be made.
func untold(id string, err error) Finding {
	return warning(id, "this could not be looked at: "+strings.Join(strings.Fields(err.Error()), " "), "what is wrong here, if anything, is not known", "")
}

// one is the list of a single finding.
func one(f Finding) []Finding { return []Finding{f} }

// needs tells whether any machine on record is of a kind.
func (e *exam) needs(of func(store.Machine) bool) []string {
	var names []string
	for _, m := range e.machines {
		if of(m) {
			names = append(names, m.Name)
		}
	}
	return names
}

// list names a few things.
func list(names []string) string {
	const few = 5
	if len(names) > few {
		return strings.Join(names[:few], ", ") + fmt.Sprintf(" and %d more", len(names)-few)
	}
	return strings.Join(names, ", ")
}
