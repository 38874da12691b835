package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
)

const defaultGrace = 30 * time.Second

// moved is the result of the verbs that start and stop, for one machine.
type moved struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Changed bool   `json:"changed"`
}

func timeoutFlag() cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: defaultTimeout, Usage: "`TIME` that booting may take until a login works", EnvVars: env("timeout")}
}

func (a *app) startCommand() *cli.Command {
	return &cli.Command{
		Name:      "start",
		Usage:     "boot a machine and prove that one can log in",
		ArgsUsage: "NAME...",
		Flags:     []cli.Flag{allFlag(), labelFlag(), timeoutFlag(), outputFlag()},
		Action: a.onMachines("running", "%s is up\n", "%s runs already\n", func(ctx *cli.Context, house *machines.House, name string) (bool, error) {
			return house.Start(ctx.Context, name, ctx.Duration("timeout"))
		}),
	}
}

func (a *app) stopCommand() *cli.Command {
	return a.stopping("stop", "power a machine off")
}

func (a *app) poweroffCommand() *cli.Command {
	return a.stopping("poweroff", "the same as stop")
}

// stopping is a verb that powers machines off.
func (a *app) stopping(verb, usage string) *cli.Command {
	return &cli.Command{
		Name:      verb,
		Usage:     usage,
		ArgsUsage: "NAME...",
		Description: "The machine's own init is asked to power off, so that its services end in order. What\n" +
			"has not ended when the time is over is ended by force.",
		Flags: []cli.Flag{
			allFlag(), labelFlag(),
			&cli.DurationFlag{Name: "timeout", Value: defaultGrace, Usage: "`TIME` that it may take before it is ended by force"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "end it at once, as if its power were cut"},
			outputFlag(),
		},
		Action: a.onMachines("stopped", "%s is off\n", "%s is off already\n", func(ctx *cli.Context, house *machines.House, name string) (bool, error) {
			return house.Stop(ctx.Context, name, grace(ctx, "timeout"))
		}),
	}
}

// grace is how long a machine may take to power off.
func grace(ctx *cli.Context, flag string) time.Duration {
	if ctx.Bool("force") {
		return 0
	}
	return ctx.Duration(flag)
}

func (a *app) restartCommand() *cli.Command {
	return &cli.Command{
		Name:      "restart",
		Usage:     "power a machine off, boot it and prove that one can log in",
		ArgsUsage: "NAME...",
		Flags: []cli.Flag{
			allFlag(), labelFlag(), timeoutFlag(),
			&cli.DurationFlag{Name: "grace", Value: defaultGrace, Usage: "`TIME` that powering off may take before it is ended by force"},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "end it at once, as if its power were cut"},
			outputFlag(),
		},
		Action: a.onMachines("running", "%s is up again\n", "", func(ctx *cli.Context, house *machines.House, name string) (bool, error) {
			return true, house.Restart(ctx.Context, name, grace(ctx, "grace"), ctx.Duration("timeout"))
		}),
	}
}

func (a *app) rebootCommand() *cli.Command {
	return &cli.Command{
		Name:      "reboot",
		Usage:     "have a machine reboot itself and prove that one can log in again",
		ArgsUsage: "NAME...",
		Flags:     []cli.Flag{allFlag(), labelFlag(), timeoutFlag(), outputFlag()},
		Action: a.onMachines("running", "%s is up again\n", "", func(ctx *cli.Context, house *machines.House, name string) (bool, error) {
			return true, house.Reboot(ctx.Context, name, ctx.Duration("timeout"))
		}),
	}
}

// onMachines is the action of a verb that brings machines into a state, given the
// words for one that it had to do so for and for one that was in it.
func (a *app) onMachines(state, changed, unchanged string, do func(ctx *cli.Context, house *machines.House, name string) (bool, error)) cli.ActionFunc {
	return func(ctx *cli.Context) error {
		c, err := machineNames(ctx)
		if err != nil {
			return err
		}
		house, err := a.house()
		if err != nil {
			return err
		}
		unread := c.find(house)
		did, errs := c.each(ctx.Context, house, func(_ context.Context, house *machines.House, name string) (bool, error) {
			return do(ctx, house, name)
		})
		if c.single && errs[0] != nil {
			return errs[0]
		}
		all := make([]moved, 0, len(c.names))
		for i, name := range c.names {
			if errs[i] == nil {
				all = append(all, moved{name, state, did[i]})
			}
		}
		var result any = all
		if c.single {
			result = all[0]
		}
		err = a.result(ctx, result, func() {
			for _, m := range all {
				words := unchanged
				if m.Changed {
					words = changed
				}
				a.printf(words, m.Name)
			}
			if len(c.names) == 0 {
				a.printf("no machines\n")
			}
		})
		return several(append(errs, unread, err)...)
	}
}
