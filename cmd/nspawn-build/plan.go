package main

import (
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
)

func (a *app) planCommand() *cli.Command {
	return &cli.Command{
		Name:      "plan",
		Usage:     "say what create would do, and touch nothing",
		ArgsUsage: "NAME",
		Flags:     append(specFlags(), outputFlag()),
		Action: func(ctx *cli.Context) error {
			w, err := a.wanted(ctx)
			if err != nil {
				return err
			}
			house, err := a.house()
			if err != nil {
				return err
			}
			return a.showPlan(ctx, house, w)
		},
	}
}

// planned is the result of plan.
type planned struct {
	Name    string             `json:"name"`
	Address string             `json:"address"`
	Tree    string             `json:"tree"`
	Stages  []pipeline.Planned `json:"stages"`
}

func (a *app) showPlan(ctx *cli.Context, house *machines.House, w machines.Wanted) error {
	plan, m, err := house.Plan(ctx.Context, w)
	if err != nil {
		return err
	}
	res := planned{m.Name, m.Address.Addr().String(), m.Tree.Path, plan}
	return a.result(ctx, res, func() {
		count := 0
		for _, p := range plan {
			for _, c := range p.Changes {
				count++
				a.printf("%-10s %-7s %s", p.Stage, c.Action, c.Subject)
				if c.Detail != "" {
					a.printf("  (%s)", c.Detail)
				}
				a.printf("\n")
			}
		}
		if count == 0 {
			a.printf("%s is there already, as asked for: nothing would be changed\n", m.Name)
		}
	})
}
