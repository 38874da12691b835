package main

import (
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/driver/direct"
	"github.com/nspawn-build/nspawn-build/core/machines"
)

// superviseCommand is what the direct driver starts for each machine.
func (a *app) superviseCommand() *cli.Command {
	return &cli.Command{
		Name:      direct.Verb,
		Usage:     "run a machine without systemd; started by the direct driver",
		ArgsUsage: "NAME",
		Hidden:    true,
		Action: func(ctx *cli.Context) error {
			name, err := one(ctx)
			if err != nil {
				return err
			}
			return direct.Supervise(ctx.Context, direct.Config{RuntimeDir: machines.RuntimeDir}, name)
		},
	}
}
