package main

import (
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/urfave/cli/v2"
)

func (a *app) destroyCommand() *cli.Command {
	return &cli.Command{
		Name:      "destroy",
		Usage:     "stop a machine and remove everything that making it made",
		ArgsUsage: "NAME",
		Flags:     []cli.Flag{outputFlag()},
		Action: a.onMachine(func(ctx *cli.Context, house *machines.House, name string) error {
			if err := house.Destroy(ctx.Context, name); err != nil {
				return err
			}
			res := struct {
				Name      string `json:"name"`
				Destroyed bool   `json:"destroyed"`
			}{name, true}
			return a.result(ctx, res, func() { a.printf("%s is destroyed\n", name) })
		}),
	}
}
