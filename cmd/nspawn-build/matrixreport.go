package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
	"github.com/nspawn-build/nspawn-build/core/matrix"
)

// jobError is why an image of a matrix was not built.
type jobError struct{ matrix.Result }

func (e *jobError) Error() string { return e.Reason }

// undoneError says of images that nobody has built them, though none failed.
type undoneError struct{ problem, advice string }

func (e *undoneError) Error() string { return e.problem }

func judgeMatrix(err error) (verdict, bool) {
	var job *jobError
	var undone *undoneError
	var merge *matrix.MergeError
	var emit *matrix.EmitError
	switch {
	case errors.As(err, &job):
		return verdict{job.Exit, job.Hint}, true
	case errors.As(err, &undone):
		return verdict{exitFault, undone.advice}, true
	case errors.As(err, &merge):
		return verdict{exitUsage, merge.Hint()}, true
	case errors.As(err, &emit):
		return verdict{exitUsage, emit.Hint()}, true
	case errors.Is(err, matrix.ErrForeign):
		return verdict{exitExists, "choose another --out, or empty it"}, true
	case errors.Is(err, matrix.ErrBusy):
		return verdict{exitExists, "wait until it is done, or choose another --out"}, true
	}
	return verdict{}, false
}

// matrixReport writes the reports that are asked for, shows the results, and
// returns what went wrong: with several images the first that failed comes
// first.
func (a *app) matrixReport(ctx *cli.Context, r *matrix.Report, dir string, err error) error {
	errs := []error{err}
	errs = append(errs, writeReports(ctx, r, dir))
	errs = append(errs, a.result(ctx, r, func() { a.printMatrix(r, ctx.String("out")) }))
	var missing, undone []string
	for _, j := range r.Jobs {
		switch j.Status {
		case matrix.Failed:
			if r.Interrupted { // every error ends as an interrupt does by now: this one is said as it is
				a.log.Errorf("%s: %s", j.Name, j.Reason)
				a.hint(j.Hint)
				continue
			}
			errs = append(errs, &machineError{j.Name, &jobError{j}})
		case matrix.Missing:
			missing = append(missing, j.Name)
		case matrix.Stopped, matrix.Skipped:
			undone = append(undone, j.Name)
		}
	}
	if len(missing) > 0 {
		errs = append(errs, &undoneError{"no runner has a result of " + strings.Join(missing, ", "), "build them, or look into why their runners did not"})
	}
	if len(undone) > 0 && r.First() == nil && !r.Interrupted {
		errs = append(errs, &undoneError{"these are not done: " + strings.Join(undone, ", "), "their results say why; build them again"})
	}
	if r.Interrupted {
		errs = append([]error{errInterrupted}, errs...)
	}
	return several(errs...)
}

func writeReports(ctx *cli.Context, r *matrix.Report, dir string) error {
	var errs []error
	if path := ctx.String("junit"); path != "" {
		var b bytes.Buffer
		err := matrix.WriteJUnit(&b, r)
		if err == nil {
			err = atomicfile.Write(path, b.Bytes(), 0o644)
		}
		errs = append(errs, err)
	}
	if path := ctx.String("html"); path != "" {
		var b bytes.Buffer
		from, err := filepath.Abs(filepath.Dir(path))
		if err == nil {
			err = matrix.WriteHTML(&b, r, from, dir)
		}
		if err == nil {
			err = atomicfile.Write(path, b.Bytes(), 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (a *app) printMatrix(r *matrix.Report, out string) {
	w := tabwriter.NewWriter(harmless{a.out}, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "IMAGE\tRESULT\tTIME\tSIZE\tCACHE\tCHECKS\tLOG")
	for _, j := range r.Jobs {
		var size int64
		cache, checks, log, time := "", "", "", ""
		if j.Image != nil {
			for _, art := range j.Image.Artifacts {
				size += art.Size
			}
			if j.Image.Cache.Hit {
				cache = "hit"
			}
			if v := j.Image.Verify; v != nil {
				passed := 0
				for _, c := range v.Checks {
					if c.OK {
						passed++
					}
				}
				checks = fmt.Sprintf("%d of %d", passed, len(v.Checks))
			}
		}
		if j.Log != "" {
			log = filepath.Join(out, j.Log)
		}
		if !j.Started.IsZero() {
			time = short(seconds(j.Seconds))
		}
		sizes := ""
		if size > 0 {
			sizes = sizeText(size)
		}
		status := string(j.Status)
		if j.Resumed {
			status += " before"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", j.Name, status, orNone(time), orNone(sizes), orNone(cache), orNone(checks), orNone(log))
	}
	_ = w.Flush()
	for _, j := range r.Jobs {
		if j.Status == matrix.Skipped {
			a.printf("%s was not begun: %s\n", j.Name, j.Reason)
		}
		if j.Image != nil {
			for _, where := range j.Image.Pushed {
				a.printf("%s was pushed: %s\n", j.Name, where)
			}
		}
	}
}

// matrixPlanned is an image of a matrix as plan shows it.
type matrixPlanned struct {
	matrix.Job
	Order int `json:"order"` // from 1
}

func (a *app) matrixPlan(ctx *cli.Context, m *matrix.Matrix) error {
	all := []matrixPlanned{}
	for i, j := range m.Order() {
		all = append(all, matrixPlanned{j, i + 1})
	}
	return a.result(ctx, all, func() {
		w := tabwriter.NewWriter(harmless{a.out}, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ORDER\tIMAGE\tDISTRO\tFORMATS\tVERIFIED\tBUILT ON")
		for _, j := range all {
			verified := "no"
			if j.Verify {
				verified = "yes"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", j.Order, j.Name, strings.TrimSpace(j.Distro+" "+j.Release), strings.Join(j.Formats, ","), verified, orNone(j.Base))
		}
		_ = w.Flush()
	})
}

func (a *app) matrixEmit(ctx *cli.Context, m *matrix.Matrix) error {
	engine := matrix.Engine(ctx.String("emit"))
	if !slices.Contains(matrix.Engines, engine) {
		return &usageError{fmt.Sprintf("emit: %q is no CI engine", ctx.String("emit")), "use github or gitlab"}
	}
	if ctx.String("file") == "-" {
		return &usageError{"--emit and --file - were both given", "name the file as the runners see it"}
	}
	return matrix.Emit(a.out, m, engine, matrix.Command{File: ctx.String("file"), Out: ctx.String("out"), More: append(cacheWords(ctx), pushWords(ctx)...)})
}

func (a *app) matrixMerge(ctx *cli.Context) error {
	dirs := ctx.Args().Tail()
	if len(dirs) == 0 {
		return &usageError{"no results were given", "nspawn-build matrix merge DIR... --out DIR"}
	}
	for _, flag := range []string{"file", "only", "jobs", "fail-fast", "resume", "emit", "dry-run", "push"} {
		if a.given(ctx, flag) {
			return &usageError{"merge builds nothing, and --" + flag + " was given", "leave it out"}
		}
	}
	out, err := matrixOut(ctx)
	if err != nil {
		return err
	}
	r, err := matrix.Merge(dirs, out, func(problem string) { a.log.Warn(problem) })
	if err != nil {
		return err
	}
	return a.matrixReport(ctx, r, out, nil)
}
