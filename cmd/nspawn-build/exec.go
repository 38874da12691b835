package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/machines"
)

func (a *app) execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "run a command in a running machine and return its exit status",
		ArgsUsage: "NAME COMMAND [ARG...]",
		Action: func(ctx *cli.Context) error {
			v, err := a.running(ctx)
			if err != nil {
				return err
			}
			argv := ctx.Args().Slice()[1:]
			if len(argv) == 0 {
				return &usageError{"no command was given", "nspawn-build exec NAME COMMAND [ARG...]"}
			}
			code, err := inside.Command{Leader: v.Status.Leader, Argv: argv, Stdin: a.in, Stdout: a.out, Stderr: a.err}.Run(ctx.Context)
			if err != nil {
				return err
			}
			if code != 0 {
				return statusError(code)
			}
			return nil
		},
	}
}

// running returns the machine that the first argument names, which must run.
func (a *app) running(ctx *cli.Context) (machines.View, error) {
	house, err := a.house()
	if err != nil {
		return machines.View{}, err
	}
	name, err := first(ctx)
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
