package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/doctor"
)

// diagnosis is the result of doctor.
type diagnosis struct {
	doctor.Report
	Repairs []doctor.Repair `json:"repairs,omitempty"`
	Errors  int             `json:"errors"`
	Warns   int             `json:"warnings"`
	Exit    int             `json:"exit"`
}

func (a *app) doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "find out what is wrong with this host and its machines, and how to mend it",
		ArgsUsage: "[NAME]",
		Description: "Without NAME every machine is looked at. The exit status is 0 when there is no error,\n" +
			"3 when there is one of the host, 6 when a machine does not run or would not, and 7 when\n" +
			"one runs and cannot be worked with.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "fix", Usage: "mend what is nspawn-build's own to mend, and look again"},
			&cli.BoolFlag{Name: "verbose", Usage: "show what is well, too"},
			&cli.StringFlag{Name: "directory", Usage: "look at `DIR` as the place where trees would be kept (default: containers in your home)", EnvVars: env("directory")},
			outputFlag(),
		},
		Action: a.doctor,
	}
}

func (a *app) doctor(ctx *cli.Context) error {
	var name string
	if ctx.NArg() > 0 {
		var err error
		if name, err = one(ctx); err != nil {
			return err
		}
	}
	house, err := a.house()
	if err != nil {
		return err
	}
	d := doctor.Doctor{House: house, Directory: treeDirectory(ctx), Machine: name}
	report, err := d.Examine(ctx.Context)
	if err != nil {
		return err
	}
	var repairs []doctor.Repair
	if ctx.Bool("fix") {
		if repairs = d.Repair(ctx.Context, report); len(repairs) > 0 {
			if report, err = d.Examine(ctx.Context); err != nil {
				return err
			}
		}
	}
	res := diagnosis{report, repairs, report.Count(doctor.Error), report.Count(doctor.Warning), doctorExits[report.Worst()]}
	if err := a.result(ctx, res, func() { a.printDiagnosis(res, ctx.Bool("verbose")) }); err != nil {
		return err
	}
	if res.Exit != exitDone {
		return statusError(res.Exit)
	}
	return nil
}

var doctorExits = map[doctor.Area]int{doctor.Host: exitHost, doctor.Boot: exitBoot, doctor.Reach: exitUnreachable}

// treeDirectory is where create would keep a tree; empty when that cannot be
// told.
func treeDirectory(ctx *cli.Context) string {
	if dir := ctx.String("directory"); dir != "" {
		return dir
	}
	u, err := invoker()
	if err != nil {
		return ""
	}
	return filepath.Join(u.HomeDir, "containers")
}

var ranks = []doctor.Severity{doctor.Error, doctor.Warning, doctor.Note, doctor.OK}

// printDiagnosis prints the host's findings and then each machine's, what is
// worst first.
func (a *app) printDiagnosis(d diagnosis, verbose bool) {
	for _, r := range d.Repairs {
		what := r.What
		if r.Machine != "" {
			what = r.Machine + ": " + what
		}
		if r.Error == "" {
			a.printf("mended      %s\n", what)
		} else {
			a.printf("not mended  %s: %s\n", what, r.Error)
		}
	}
	if len(d.Repairs) > 0 {
		a.printf("\n")
	}
	var patients []string
	of := map[string][]doctor.Finding{}
	for _, f := range d.Findings {
		if _, seen := of[f.Machine]; !seen {
			patients = append(patients, f.Machine)
		}
		of[f.Machine] = append(of[f.Machine], f)
	}
	for _, p := range patients {
		a.printPatient(p, of[p], verbose)
	}
	a.printf("%s, %s, %s\n", count(d.Errors, "error"), count(d.Warns, "warning"), count(d.Count(doctor.Note), "note"))
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (a *app) printPatient(name string, found []doctor.Finding, verbose bool) {
	title := "this host"
	if name != "" {
		title = "machine " + name
	}
	a.printf("%s\n", title)
	slices.SortStableFunc(found, func(x, y doctor.Finding) int {
		return slices.Index(ranks, x.Severity) - slices.Index(ranks, y.Severity)
	})
	well := 0
	for _, f := range found {
		if f.Severity == doctor.OK {
			well++
			if !verbose {
				continue
			}
		}
		a.printFinding(f)
	}
	if !verbose {
		a.printf("  %-8s %s\n", doctor.OK, count(well, "check"))
	}
	a.printf("\n")
}

func (a *app) printFinding(f doctor.Finding) {
	const under = "           "
	a.printf("  %-8s %s\n", f.Severity, f.What)
	if f.Why != "" && f.Severity != doctor.Note && f.Severity != doctor.OK {
		a.printf(under+"%s\n", f.Why)
	}
	for _, l := range f.Detail {
		a.printf(under+"| %s\n", l)
	}
	if f.Fix != "" {
		a.printf(under+"fix: %s\n", strings.ReplaceAll(f.Fix, " && ", " &&\n"+under+"     "))
	}
}
