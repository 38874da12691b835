package main

import (
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
)

func (a *app) enableCommand() *cli.Command {
	return &cli.Command{
		Name:        "enable",
		Usage:       "boot a machine whenever this host boots",
		ArgsUsage:   "NAME...",
		Description: "This is what machinectl enable does; it needs the systemd driver.",
		Flags:       []cli.Flag{allFlag(), labelFlag(), outputFlag()},
		Action: a.onMachines("enabled", "%s is enabled: this host boots it when it boots itself\n", "%s is enabled already\n",
			func(ctx *cli.Context, house *machines.House, name string) (bool, error) {
				return house.Enable(ctx.Context, name)
			}),
	}
}

func (a *app) disableCommand() *cli.Command {
	return &cli.Command{
		Name:        "disable",
		Usage:       "do not boot a machine when this host boots",
		ArgsUsage:   "NAME...",
		Description: "A machine that runs goes on running.",
		Flags:       []cli.Flag{allFlag(), labelFlag(), outputFlag()},
		Action: a.onMachines("disabled", "%s is disabled\n", "%s is disabled already\n",
			func(ctx *cli.Context, house *machines.House, name string) (bool, error) {
				return house.Disable(ctx.Context, name)
			}),
	}
}
