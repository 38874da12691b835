package main

import (
	"errors"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/journal"
	"github.com/nspawn-build/nspawn-build/core/machines"
)

func (a *app) logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print the journal of a machine",
		ArgsUsage: "NAME",
		Description: "Of a machine that does not run, it is what it kept in its tree; where it kept none, what it\n" +
			"printed on its console last. The flags are those of journalctl, and so is the exit status.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "lines", Aliases: []string{"n"}, Usage: "print the last `N` lines, or all (default: 100, and all with --since, --until, --boot or --grep)"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on printing what comes"},
			&cli.StringSliceFlag{Name: "unit", Aliases: []string{"u"}, Usage: "print what is of `UNIT`, a name or a pattern; may be repeated"},
			&cli.StringFlag{Name: "since", Aliases: []string{"S"}, Usage: "begin at `TIME`: 2026-01-31 12:00, 12:00, yesterday, -2h"},
			&cli.StringFlag{Name: "until", Aliases: []string{"U"}, Usage: "end at `TIME`"},
			&cli.GenericFlag{
				Name: "boot", Aliases: []string{"b"}, Value: &optional{without: "0", takes: journal.IsBoot},
				Usage: "print one boot of the machine: `N` is 0 for the last, -1 for the one before, or an ID, or all (default: 0)",
			},
			&cli.StringFlag{Name: "priority", Aliases: []string{"p"}, Usage: "print what is of `LEVEL` or worse: emerg, alert, crit, err, warning, notice, info, debug; or a range such as err..notice"},
			&cli.StringFlag{Name: "grep", Aliases: []string{"g"}, Usage: "print the lines whose message matches `REGEX`"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print it in a `FORM` of journalctl: short, short-iso, verbose, cat, with-unit, json or export; there are more"},
			&cli.BoolFlag{Name: "console", Usage: "print what the machine printed on its console"},
		},
		Action: a.logs,
	}
}

func (a *app) logs(ctx *cli.Context) error {
	name, err := one(ctx)
	if err != nil {
		return err
	}
	selection, err := selectionOf(ctx)
	if err != nil {
		return err
	}
	house, err := a.house()
	if err != nil {
		return err
	}
	if ctx.Bool("console") {
		return a.printConsole(ctx, house, name, selection.Lines)
	}
	_, terminal := terminal(a.out)
	code, err := house.Journal(ctx.Context, name, selection, journal.To{Out: a.out, Err: a.err, Terminal: terminal})
	if errors.Is(err, journal.ErrNotKept) && !selection.Chooses() {
		return a.printConsole(ctx, house, name, selection.Lines)
	}
	if err == nil && code != 0 {
		err = statusError(code)
	}
	return err
}

// selectionOf reads the flags, and finds what is wrong with them before anything
// is looked at.
func selectionOf(ctx *cli.Context) (journal.Selection, error) {
	s := journal.Selection{
		Units: ctx.StringSlice("unit"), Since: ctx.String("since"), Until: ctx.String("until"),
		Lines: ctx.String("lines"), Priority: ctx.String("priority"), Grep: ctx.String("grep"),
		Output: ctx.String("output"), Follow: ctx.Bool("follow"),
	}
	if o, ok := ctx.Generic("boot").(*optional); ok {
		s.Boot = o.value
	}
	for _, flag := range []string{"lines", "since", "until", "priority", "grep", "output"} {
		if ctx.IsSet(flag) && ctx.Value(flag) == "" {
			return s, &usageError{flag + ": no value was given", "leave --" + flag + " out for what is usual"}
		}
	}
	if found := s.Check(); len(found) > 0 {
		return s, found
	}
	if ctx.Bool("console") && (s.Follow || s.Chooses()) {
		return s, &usageError{"console: nothing can be chosen of it but the number of lines", "leave --console out to choose from the journal"}
	}
	return s, nil
}

// printConsole prints what a machine printed while it booted.
func (a *app) printConsole(ctx *cli.Context, house *machines.House, name, lines string) error {
	n := journal.DefaultLines
	switch lines {
	case "":
	case "all":
		n = allLines
	default:
		n, _ = strconv.Atoi(lines) // checked before
	}
	printed, err := house.Console(ctx.Context, name, n)
	for _, l := range printed {
		a.printf("%s\n", l)
	}
	return err
}

// allLines is more than is kept of any console.
const allLines = 1 << 20
