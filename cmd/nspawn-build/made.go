package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
)

// created is the result of create for one machine.
type created struct {
	Name     string             `json:"name"`
	Changed  bool               `json:"changed"`
	Distro   string             `json:"distro"`
	Release  string             `json:"release,omitempty"`
	Driver   spec.Driver        `json:"driver,omitempty"`
	Address  string             `json:"address,omitempty"`
	Tree     string             `json:"tree,omitempty"`
	SSH      string             `json:"ssh,omitempty"`
	Password string             `json:"password,omitempty"` // only one that was generated, once
	Seconds  map[string]float64 `json:"seconds,omitempty"`  // by stage
	// Applied are the fields of a machine that existed that were changed, and
	// NeedsRestart those that take a restart to have.
	Applied      []spec.Difference `json:"applied,omitempty"`
	NeedsRestart []string          `json:"needsRestart,omitempty"`
	Restarted    bool              `json:"restarted,omitempty"`
	// Cache is what the cache of trees had to do with it.
	Cache *stages.CacheUse `json:"cache,omitempty"`
	// Problem and Exit are why it was not made; of a list only.
	Problem string `json:"problem,omitempty"`
	Exit    int    `json:"exit,omitempty"`

	booted bool
	times  string
}

func (a *app) create(ctx *cli.Context) error {
	if ctx.Bool("print-schema") {
		_, err := a.out.Write(spec.FileSchema())
		return err
	}
	if ctx.Bool("restart") && ctx.Bool("no-boot") {
		return &usageError{"--restart and --no-boot were both given", "leave one of them out"}
	}
	all, list, err := a.wishes(ctx)
	if err != nil {
		return err
	}
	house, err := a.cachingHouse(ctx)
	if err != nil {
		return err
	}
	if ctx.Bool("dry-run") {
		return a.showPlans(ctx, house, all, list)
	}
	for i := range all {
		all[i].Restart, all[i].Grace = ctx.Bool("restart"), defaultGrace
	}
	if list {
		return a.createSeveral(ctx, house, all)
	}
	res, err := createOne(ctx.Context, house, all[0])
	if err != nil {
		return err
	}
	return a.result(ctx, res, func() { a.printCreated(ctx, res) })
}

func createOne(ctx context.Context, house *machines.House, w wish) (created, error) {
	start := time.Now()
	out, err := house.Create(ctx, w.Wanted)
	if err != nil {
		return created{}, w.locate(err)
	}
	return outcome(out, w.Run, w.Secret, w.keyFiles, start), nil
}

// outcome is the result of making a machine that began at start.
func outcome(out machines.Outcome, run spec.Run, secret spec.Secret, keyFiles []string, start time.Time) created {
	m := out.Machine
	res := created{
		Name: m.Name, Changed: out.Changed, Distro: m.Spec.Distro, Release: release(m), Driver: m.Driver,
		Address: address(m), SSH: sshLine(keyFiles, m), Tree: m.Tree.Path,
		Applied: out.Applied, NeedsRestart: out.Waiting, Restarted: out.Restarted, Cache: out.Cache, booted: run.Boot,
	}
	if out.PasswordSet && m.Spec.Access.Password == spec.PasswordGenerated {
		res.Password = secret.Reveal()
	}
	var times []string
	for _, r := range out.Results {
		if r.Changed {
			if res.Seconds == nil {
				res.Seconds = map[string]float64{}
			}
			res.Seconds[r.Stage] = r.Duration.Seconds()
			times = append(times, r.Stage+" "+short(r.Duration))
		}
	}
	if len(times) > 0 {
		res.times = strings.Join(times, ", ") + "; " + short(time.Since(start)) + " in all"
	}
	return res
}

func (a *app) printCreated(ctx *cli.Context, res created) {
	switch {
	case len(res.Applied) > 0:
		a.printf("%s is changed: %s\n", res.Name, strings.Join(keysIn(res.Applied), ", "))
	case !res.Changed:
		a.printf("%s is there already, as asked for: nothing was changed\n", res.Name)
	case res.booted && res.Address == "":
		a.printf("%s is up: %s %s, without a network\n", res.Name, res.Distro, res.Release)
	case res.booted:
		a.printf("%s is up: %s %s, reached over SSH\n", res.Name, res.Distro, res.Release)
	default:
		a.printf("%s is made: %s %s, not booted\n", res.Name, res.Distro, res.Release)
	}
	if line := res.restartLine(); line != "" {
		a.printf("  %s\n", line)
	}
	if res.Address != "" {
		a.printf("  address   %s\n", res.Address)
	}
	a.printf("  tree      %s\n", res.Tree)
	if res.Cache != nil && ctx.Bool("explain-cache") {
		a.cacheExplained(res.Cache)
	} else if res.Cache != nil && res.Cache.Hit {
		a.printf("  cache     %s\n", res.Cache.Reason)
	}
	if res.times != "" {
		a.printf("  time      %s\n", res.times)
	}
	if res.Password != "" {
		a.printf("  password  %s\n", res.Password)
	}
	switch {
	case !res.booted:
		a.printf("  boot it   nspawn-build start %s\n", res.Name)
	case res.SSH == "":
		a.printf("  enter     nspawn-build shell %s\n", res.Name)
	default:
		a.printf("  log in    %s\n", res.SSH)
	}
}

// restartLine says what a restart is needed for; empty when for nothing.
func (c created) restartLine() string {
	switch {
	case c.Restarted:
		return "it was restarted for what was changed"
	case len(c.NeedsRestart) > 0:
		return "needs a restart: nspawn-build restart " + c.Name + " (for " + strings.Join(c.NeedsRestart, ", ") + ")"
	}
	return ""
}

// keysIn names the fields that differ, each once.
func keysIn(all []spec.Difference) []string {
	var keys []string
	for _, d := range all {
		if !slices.Contains(keys, d.Key()) {
			keys = append(keys, d.Key())
		}
	}
	return keys
}

// jobs is how many machines are bootstrapped at once.
func jobs(ctx *cli.Context) int {
	if n := ctx.Int("jobs"); n > 0 {
		return n
	}
	return min(runtime.NumCPU(), 8)
}

// createSeveral makes the machines of a file, and shows what became of all.
func (a *app) createSeveral(ctx *cli.Context, house *machines.House, all []wish) error {
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = w.Spec.Name
	}
	house.WarnOfMany(names)
	fleet := machines.Fleet{Bootstraps: jobs(ctx), FailFast: ctx.Bool("fail-fast")}
	results, errs := machines.Make(ctx.Context, house, names, fleet, func(ctx context.Context, house *machines.House, i int) (created, error) {
		return createOne(ctx, house, all[i])
	})
	for i, err := range errs {
		if err == nil {
			continue
		}
		results[i] = created{
			Name: names[i], Distro: all[i].Spec.Distro, Release: all[i].Spec.Release,
			Problem: oneLine(err), Exit: judge(ctx.Context, err).code,
		}
		errs[i] = &machineError{names[i], err}
	}
	err := a.result(ctx, results, func() { a.printSeveral(results) })
	// Those that were ended for another's failure are not the first.
	slices.SortStableFunc(errs, func(x, y error) int { return order(x) - order(y) })
	return several(append(errs, err)...)
}

func order(err error) int {
	if errors.Is(err, machines.ErrStopped) {
		return 1
	}
	return 0
}

func (a *app) printSeveral(all []created) {
	w := tabwriter.NewWriter(harmless{a.out}, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tRESULT\tDISTRO\tADDRESS\tLOG IN")
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Name, c.word(), strings.TrimSpace(c.Distro+" "+c.Release), orNone(c.Address), orNone(c.SSH))
	}
	_ = w.Flush()
	for _, c := range all {
		if c.Password != "" {
			a.printf("%s: password %s\n", c.Name, c.Password)
		}
		if len(c.Applied) > 0 {
			a.printf("%s: changed: %s\n", c.Name, strings.Join(keysIn(c.Applied), ", "))
		}
		if line := c.restartLine(); line != "" {
			a.printf("%s: %s\n", c.Name, line)
		}
	}
}

// word is what became of a machine, in the table.
func (c created) word() string {
	switch {
	case c.Problem != "":
		return "failed"
	case len(c.Applied) > 0:
		return "changed"
	case !c.Changed:
		return "unchanged"
	case c.booted:
		return "up"
	}
	return "made"
}

// machineError is what went wrong with one of several machines.
type machineError struct {
	name string
	err  error
}

func (e *machineError) Error() string { return e.name + ": " + e.err.Error() }
func (e *machineError) Unwrap() error { return e.err }

// speakingOf is the program with a machine's name before all that it says.
func (a *app) speakingOf(name string) *app {
	own := *a
	own.log = logrus.New()
	own.log.SetOutput(a.log.Out)
	own.log.SetLevel(a.log.GetLevel())
	own.log.SetFormatter(speaking{name, a.log.Formatter})
	return &own
}

type speaking struct {
	name string
	as   logrus.Formatter
}

// Format names the machine, except before an excerpt of a file or a log.
func (s speaking) Format(e *logrus.Entry) ([]byte, error) {
	own := *e
	if hint, is := strings.CutPrefix(e.Message, hintMark); is {
		own.Message = hintMark + s.name + ": " + hint
	} else if e.Level <= logrus.WarnLevel {
		own.Message = s.name + ": " + e.Message
	}
	return s.as.Format(&own)
}
