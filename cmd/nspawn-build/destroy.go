package main

import (
	"github.com/urfave/cli/v2"
)

func (a *app) destroyCommand() *cli.Command {
	return &cli.Command{
		Name:      "destroy",
		Usage:     "stop a machine and remove everything that making it made",
		ArgsUsage: "NAME",
		Flags:     []cli.Flag{outputFlag()},
		Action: func(ctx *cli.Context) error {
			name, err := one(ctx)
			if err != nil {
				return err
			}
			house, err := a.house()
			if err != nil {
				return err
			}
			if err := house.Destroy(ctx.Context, name); err != nil {
				return err
			}
			res := struct {
				Name      string `json:"name"`
				Destroyed bool   `json:"destroyed"`
			}{name, true}
			return a.result(ctx, res, func() { a.printf("%s is destroyed\n", name) })
		},
	}
}
