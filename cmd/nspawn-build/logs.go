package main

import (
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/inside"
)

func (a *app) logsCommand() *cli.Command {
	return &cli.Command{
		Name:        "logs",
		Usage:       "print the journal of a machine",
		ArgsUsage:   "NAME",
		Description: "Of a machine that does not run, it is what it printed on its console last.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Value: 100, Usage: "print the last `N` lines"},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on printing what comes"},
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
	lines := ctx.Int("lines")
	if lines < 1 {
		return &usageError{"lines: " + strconv.Itoa(lines) + " is not a number of lines", "use 1 or more"}
	}
	house, err := a.house()
	if err != nil {
		return err
	}
	v, err := house.Get(ctx.Context, name)
	if err != nil {
		return err
	}
	if v.Status.State == driver.Running && !ctx.Bool("console") {
		argv := []string{"journalctl", "--no-pager", "--lines", strconv.Itoa(lines)}
		if ctx.Bool("follow") {
			argv = append(argv, "--follow")
		}
		code, err := inside.Command{Leader: v.Status.Leader, Argv: argv, Stdout: a.out, Stderr: a.err}.Run(ctx.Context)
		if err == nil && code != 0 {
			err = statusError(code)
		}
		return err
	}
	if ctx.Bool("follow") {
		return &notRunningError{name}
	}
	printed, err := house.Console(ctx.Context, name, lines)
	for _, l := range printed {
		a.printf("%s\n", l)
	}
	return err
}
