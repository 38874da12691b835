package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/images"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/quarters"
	"github.com/nspawn-build/nspawn-build/core/verify"
)

func (a *app) verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "boot an image once, without changing it, and check that it works",
		ArgsUsage: "PATH",
		Description: "Boots an image of any format that image writes in a network\n" +
			"of its own and checks that it is up with no failed unit, has its address,\n" +
			"resolves names, lets one log in over SSH, and powers off.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "check", Usage: "`COMMAND` of the image's shell that must succeed in it; may be repeated"},
			&cli.StringFlag{Name: "name", Value: "image", Usage: "host `NAME` that it boots with"},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Minute, Usage: "how long all of it may take", EnvVars: env("verify-timeout")},
			&cli.DurationFlag{Name: "check-timeout", Value: 90 * time.Second, Usage: "how long each check may take", EnvVars: env("check-timeout")},
			outputFlag(),
		},
		Action: a.verify,
	}
}

func (a *app) verify(ctx *cli.Context) (err error) {
	if ctx.NArg() != 1 {
		if ctx.NArg() > 1 {
			return &usageError{fmt.Sprintf("unexpected argument %q", strings.Join(ctx.Args().Slice()[1:], " ")), "nspawn-build verify takes one image"}
		}
		return &usageError{"no image was named", "nspawn-build verify PATH"}
	}
	for _, flag := range []string{"timeout", "check-timeout"} {
		if d := ctx.Duration(flag); d <= 0 {
			return &usageError{fmt.Sprintf("%s: %q is not a time that anything could be done in", flag, d), "use 90s, say"}
		}
	}
	t := verify.Target{
		Name: ctx.String("name"), Checks: ctx.StringSlice("check"), RuntimeDir: machines.RuntimeDir,
		Timeout: ctx.Duration("timeout"), CheckTimeout: ctx.Duration("check-timeout"),
	}
	path, err := filepath.Abs(ctx.Args().First())
	if err != nil {
		return err
	}
	t.Image = path // a plain file system, or nothing at all: verify says
	if form, unknown := image.FormatOf(path); unknown == nil {
		done, failed := a.unpacked(ctx.Context, &t, path, form)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, done()) }()
	}
	report, err := verify.Run(ctx.Context, t, func(c verify.Check) {
		a.log.Info(checkLine(c))
		for _, line := range c.Output {
			a.log.Debug("| " + line)
		}
	})
	if err != nil {
		return err
	}
	if err := a.result(ctx, report, func() { a.printf("%s\n", verified(path, report)) }); err != nil {
		return err
	}
	if !report.OK {
		return &unverifiedError{path, report}
	}
	return nil
}

// unpacked has t boot the image at path, which is unpacked for that into a
// directory of its own where need be. done removes it.
func (a *app) unpacked(ctx context.Context, t *verify.Target, path string, f image.Format) (done func() error, err error) {
	scratch, err := quarters.Kind{Prefix: "nspawn-build-verify-"}.Scratch(ctx, "/var/tmp")
	if err != nil {
		return nil, err
	}
	done = func() error { return scratch.Leave(context.WithoutCancel(ctx)) }
	from, err := images.Bootable(ctx, path, f, filepath.Join(scratch.Dir, "root"))
	if err != nil {
		return nil, errors.Join(err, done())
	}
	t.Tree, t.Image = from.Tree, from.Image
	return done, nil
}

// checkLine says what became of a check.
func checkLine(c verify.Check) string {
	word := "failed"
	switch {
	case c.OK:
		word = "ok"
	case c.Skipped:
		word = "skipped"
	}
	return fmt.Sprintf("%-8s%s: %s", word, c.Name, c.Detail)
}

func verified(path string, r verify.Report) string {
	passed := 0
	for _, c := range r.Checks {
		if c.OK {
			passed++
		}
	}
	return fmt.Sprintf("%s: %d of %d checks passed; it was up after %.1f s", path, passed, len(r.Checks), r.BootSeconds)
}

// unverifiedError is an image that was tried and failed.
type unverifiedError struct {
	path   string
	report verify.Report
}

func (e *unverifiedError) Error() string {
	return e.path + ": " + e.report.Faults()
}

// failedLines are what there is to read about the checks that failed.
func failedLines(r verify.Report) []string {
	var all []string
	for _, c := range r.Failed() {
		all = append(append(append(all, "--- "+c.Name), c.Output...), c.Journal...)
	}
	return all
}

// judgeVerify is the table for images: one that did not boot is as a machine that
// did not, and one that did not pass is as one that cannot be worked with.
func judgeVerify(err error) (verdict, bool) {
	var cannot *verify.Error
	var failed *unverifiedError
	switch {
	case errors.As(err, &cannot) && cannot.Input:
		return verdict{exitUsage, cannot.Hint}, true
	case errors.As(err, &cannot):
		return verdict{exitHost, cannot.Hint}, true
	case errors.As(err, &failed):
		return verdict{unverifiedExit(failed.report), noHint}, true
	}
	return verdict{}, false
}

func unverifiedExit(r verify.Report) int {
	for _, c := range r.Failed() {
		if c.Name == verify.Booted {
			return exitBoot
		}
	}
	return exitUnreachable
}
