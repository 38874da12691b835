package main

import (
	"context"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
)

// removed is the result of remove for one machine.
type removed struct {
	Name string `json:"name"`
	Tree string `json:"tree"` // which is still there
}

func (a *app) removeCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "forget a machine and keep its files",
		ArgsUsage: "NAME...",
		Description: "The machine is stopped, and everything on this host that making it made goes, but for\n" +
			"its tree: that is yours from here on. destroy removes the tree too.",
		Flags:  []cli.Flag{outputFlag()},
		Action: a.remove,
	}
}

func (a *app) remove(ctx *cli.Context) error {
	c, err := machineNames(ctx)
	if err != nil {
		return err
	}
	house, err := a.house()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	trees := map[string]string{}
	_, errs := c.each(ctx.Context, house, func(ctx context.Context, house *machines.House, name string) (bool, error) {
		tree, err := house.Remove(ctx, name)
		mu.Lock()
		trees[name] = tree
		mu.Unlock()
		return err == nil, err
	})
	if c.single && errs[0] != nil {
		return errs[0]
	}
	all := make([]removed, 0, len(c.names))
	for i, name := range c.names {
		if errs[i] == nil {
			all = append(all, removed{name, trees[name]})
		}
	}
	var result any = all
	if c.single {
		result = all[0]
	}
	err = a.result(ctx, result, func() {
		for _, r := range all {
			a.printf("%s is forgotten; its files are still in %s\n", r.Name, r.Tree)
		}
	})
	return several(append(errs, err)...)
}
