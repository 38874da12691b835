package main

import (
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/driver/still"
)

// holdStillCommand is what clone --live starts to have a machine held still.
func (a *app) holdStillCommand() *cli.Command {
	return &cli.Command{
		Name:      still.Verb,
		Usage:     "hold a machine still until standard input ends; started by clone",
		ArgsUsage: "PID",
		Hidden:    true,
		Action: func(ctx *cli.Context) error {
			leader, err := strconv.Atoi(ctx.Args().First())
			if err != nil || ctx.NArg() != 1 {
				return &usageError{fmt.Sprintf("%q is not the number of a process", ctx.Args().First()), "clone --live starts this"}
			}
			return still.Keep(ctx.Context, leader, a.in, a.out)
		},
	}
}
