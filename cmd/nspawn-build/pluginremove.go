package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func (a *app) pluginRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "remove a plugin that is on the lock; machines that it made stay",
		ArgsUsage: "PLUGIN",
		Flags:     []cli.Flag{outputFlag()},
		Action:    a.pluginRemove,
	}
}

// pluginRemoved is the result of plugin remove.
type pluginRemoved struct {
	Name    string   `json:"name"`
	SHA256  string   `json:"sha256"`
	Source  string   `json:"source,omitempty"`
	Distros []string `json:"distros,omitempty"` // that no plugin makes any more
	// Machines are those of these distros, which stay.
	Machines []string `json:"machines,omitempty"`
}

func (a *app) pluginRemove(ctx *cli.Context) error {
	name, err := onePlugin(ctx)
	if err != nil {
		return err
	}
	s, err := a.pluginStore(ctx)
	if err != nil {
		return err
	}
	house, err := a.house()
	if err != nil {
		return err
	}
	all, err := house.Store.List()
	if err != nil {
		return err // nothing is removed of which it cannot be said whom it hits
	}
	e, err := s.Remove(ctx.Context, name)
	if err != nil {
		return err
	}
	res := pluginRemoved{Name: name, SHA256: e.SHA256, Source: e.Source}
	left, err := s.Host.List(ctx.Context)
	if err != nil {
		return err
	}
	for _, distro := range e.Distros {
		if !slices.ContainsFunc(left, func(l listing) bool { return l.Err == nil && slices.Contains(l.Distros(), distro) }) {
			res.Distros = append(res.Distros, distro)
		}
	}
	for _, m := range all {
		if slices.Contains(res.Distros, m.Spec.Distro) {
			res.Machines = append(res.Machines, m.Name)
		}
	}
	return a.result(ctx, res, func() {
		a.printf("%s is removed\n", name)
		if len(res.Distros) > 0 {
			a.printf("  no plugin makes %s any more\n", strings.Join(res.Distros, ", "))
		}
		if len(res.Machines) > 0 {
			a.printf("  these machines stay and work, and cannot be made again: %s\n", strings.Join(res.Machines, ", "))
		}
	})
}

// onePlugin returns the only argument: a plugin's name.
func onePlugin(ctx *cli.Context) (string, error) {
	if ctx.NArg() != 1 {
		return "", &usageError{fmt.Sprintf("plugin %s takes one plugin, not %d", ctx.Command.Name, ctx.NArg()), "nspawn-build plugin list shows what there is"}
	}
	return ctx.Args().First(), nil
}
