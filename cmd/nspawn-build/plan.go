package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
)

func (a *app) planCommand() *cli.Command {
	return &cli.Command{
		Name:      "plan",
		Usage:     "say what create would do, and touch nothing",
		ArgsUsage: "NAME",
		Flags:     append(slices.Concat(specFlags(), fileFlags(), cacheFlags()), devPluginFlag(), outputFlag()),
		Action: func(ctx *cli.Context) error {
			all, list, err := a.wishes(ctx)
			if err != nil {
				return err
			}
			house, err := a.cachingHouse(ctx)
			if err != nil {
				return err
			}
			return a.showPlans(ctx, house, all, list)
		},
	}
}

// planned is the result of plan for one machine.
type planned struct {
	Name    string             `json:"name"`
	Address string             `json:"address,omitempty"`
	Tree    string             `json:"tree,omitempty"`
	Stages  []pipeline.Planned `json:"stages"`
	// Amended are the fields of a machine that exists that would be changed.
	Amended []amended `json:"amended,omitempty"`
	Problem string    `json:"problem,omitempty"`
	Exit    int       `json:"exit,omitempty"`
	// Cache is what is kept of such a tree; not said of a machine that exists.
	Cache *stages.CacheUse `json:"cache,omitempty"`
}

// amended is one field with what it takes to change it: "live" or "restart".
type amended struct {
	spec.Difference
	Key    string      `json:"key"`
	Change spec.Change `json:"change"`
}

func planOne(ctx context.Context, house *machines.House, w wish) (planned, error) {
	out, err := house.Plan(ctx, w.Wanted)
	if err != nil {
		return planned{}, w.locate(err)
	}
	return outlook(out), nil
}

func outlook(out machines.Outlook) planned {
	res := planned{Name: out.Machine.Name, Address: address(out.Machine), Tree: out.Machine.Tree.Path, Stages: out.Stages, Cache: out.Cache}
	for _, d := range out.Differences {
		res.Amended = append(res.Amended, amended{d, d.Key(), d.Change()})
	}
	return res
}

// showPlans shows what would be done with one machine, or with each of a list.
func (a *app) showPlans(ctx *cli.Context, house *machines.House, all []wish, list bool) error {
	if !list {
		res, err := planOne(ctx.Context, house, all[0])
		if err != nil {
			return err
		}
		return a.result(ctx, res, func() { a.printPlan(ctx, "", res) })
	}
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = w.Spec.Name
	}
	results, errs := machines.Make(ctx.Context, house, names, machines.Fleet{Bootstraps: jobs(ctx)}, func(ctx context.Context, house *machines.House, i int) (planned, error) {
		return planOne(ctx, house, all[i])
	})
	for i, err := range errs {
		if err != nil {
			results[i] = planned{Name: names[i], Problem: oneLine(err), Exit: judge(ctx.Context, err).code}
			errs[i] = &machineError{names[i], err}
		}
	}
	err := a.result(ctx, results, func() {
		for _, res := range results {
			if res.Problem == "" {
				a.printPlan(ctx, res.Name+": ", res)
			}
		}
	})
	return several(append(errs, err)...)
}

func (a *app) printPlan(ctx *cli.Context, before string, res planned) {
	count := len(res.Amended)
	for _, d := range res.Amended {
		effect := "at once"
		if d.Change == spec.ChangeRestart {
			effect = "after a restart"
		}
		a.printf("%s%-10s %-7s %s  (%s)\n", before, "spec", "update", d.Difference, effect)
	}
	for _, p := range res.Stages {
		for _, c := range p.Changes {
			count++
			detail := ""
			if c.Detail != "" {
				detail = fmt.Sprintf("  (%s)", c.Detail)
			}
			a.printf("%s%-10s %-7s %s%s\n", before, p.Stage, c.Action, c.Subject, detail)
		}
	}
	if count == 0 {
		a.printf("%s is there already, as asked for: nothing would be changed\n", res.Name)
	}
	if ctx.Bool("explain-cache") {
		if before != "" {
			a.printf("%s\n", strings.TrimSuffix(before, " "))
		}
		a.cacheExplained(res.Cache)
	}
}
