package main

import (
	"context"
	"fmt"
	"path"
	"regexp"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func (a *app) execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "run a command in a running machine and return its exit status",
		ArgsUsage: "NAME COMMAND [ARG...]",
		Description: "Standard input, output and error are the command's, each by itself; with --tty they are one\n" +
			"terminal of the machine. The exit status is the command's: 127 when there is no such command,\n" +
			"126 when it cannot be run, 128 and the signal's number when a signal ended it.\n" +
			"SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to it; what has not ended 10 seconds later,\n" +
			"or when the same signal comes again, is killed.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the command a terminal; without one on this side it is left out"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run it as `USER` (default: root)"},
			&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "run it in `DIR` of the machine"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, KeepSpace: true, Usage: "set `KEY=VALUE` for it; may be repeated"},
		},
		Action: func(ctx *cli.Context) error {
			v, err := a.running(ctx)
			if err != nil {
				return err
			}
			argv := ctx.Args().Slice()[1:]
			if len(argv) == 0 {
				return &usageError{"no command was given", "nspawn-build exec NAME COMMAND [ARG...]"}
			}
			env, err := settings(ctx.StringSlice("env"))
			if err != nil {
				return err
			}
			dir := ctx.String("workdir")
			if dir != "" && !path.IsAbs(dir) {
				return &usageError{fmt.Sprintf("workdir: %q is not an absolute path", dir), "name a directory of the machine, such as /workspace"}
			}
			c := inside.Command{Leader: v.Status.Leader, Argv: argv, Env: env, Stdin: a.in, Stdout: a.out, Stderr: a.err}
			var u inside.User
			if name := ctx.String("user"); name != "" {
				if u, err = inside.LookUp(ctx.Context, v.Status.Leader, name); err != nil {
					return err
				}
			}
			if c = c.As(u, dir); ctx.Bool("tty") {
				c.Env = append([]string{termType()}, c.Env...)
				return a.atTerminal(ctx.Context, c, false)
			}
			return runSignaled(ctx.Context, c)
		},
	}
}

// runSignaled runs a command that gets the signals that we get, and ends as it
// does. When ctx is done before, it is not run; from then on only its parent
// ends it.
func runSignaled(ctx context.Context, c inside.Command) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	signals, giveBack := takeSignals()
	defer giveBack()
	c.Signals = signals
	code, err := c.Run(context.WithoutCancel(ctx))
	if err == nil && code != 0 {
		err = statusError(code)
	}
	return err
}

var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// running returns the machine that the first argument names, which must run.
func (a *app) running(ctx *cli.Context) (machines.View, error) {
	return a.runningMachine(ctx, ctx.Args().First())
}

func (a *app) runningMachine(ctx *cli.Context, word string) (machines.View, error) {
	name, e := spec.ParseName(word)
	if e != nil {
		return machines.View{}, spec.Invalid{e}
	}
	house, err := a.house()
	if err != nil {
		return machines.View{}, err
	}
	v, err := house.Get(ctx.Context, name)
	if err != nil {
		return v, err
	}
	if v.Problem != "" {
		return v, fmt.Errorf("%s: %s", name, v.Problem)
	}
	if v.Status.State != driver.Running {
		return v, &notRunningError{name}
	}
	return v, nil
}

// notRunningError says that a machine is off.
type notRunningError struct{ name string }

func (e *notRunningError) Error() string { return "machine " + e.name + " does not run" }
