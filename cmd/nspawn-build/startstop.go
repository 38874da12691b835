package main

import (
	"time"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/urfave/cli/v2"
)

const defaultGrace = 30 * time.Second

// moved is the result of start and stop.
type moved struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Changed bool   `json:"changed"`
}

func (a *app) startCommand() *cli.Command {
	return &cli.Command{
		Name:      "start",
		Usage:     "boot a machine and prove that one can log in",
		ArgsUsage: "NAME",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "timeout", Value: defaultTimeout, Usage: "`TIME` that booting may take until a login works", EnvVars: env("timeout")},
			outputFlag(),
		},
		Action: a.onMachine(func(ctx *cli.Context, house *machines.House, name string) error {
			changed, err := house.Start(ctx.Context, name, ctx.Duration("timeout"))
			if err != nil {
				return err
			}
			return a.result(ctx, moved{name, "running", changed}, func() {
				if changed {
					a.printf("%s is up\n", name)
				} else {
					a.printf("%s runs already\n", name)
				}
			})
		}),
	}
}

func (a *app) stopCommand() *cli.Command {
	return &cli.Command{
		Name:      "stop",
		Usage:     "power a machine off",
		ArgsUsage: "NAME",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "timeout", Value: defaultGrace, Usage: "`TIME` that it may take before it is ended by force"},
			outputFlag(),
		},
		Action: a.onMachine(func(ctx *cli.Context, house *machines.House, name string) error {
			changed, err := house.Stop(ctx.Context, name, ctx.Duration("timeout"))
			if err != nil {
				return err
			}
			return a.result(ctx, moved{name, "stopped", changed}, func() {
				if changed {
					a.printf("%s is off\n", name)
				} else {
					a.printf("%s is off already\n", name)
				}
			})
		}),
	}
}
