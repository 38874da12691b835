package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/plugins"
)

func (a *app) pluginUpdateCommand() *cli.Command {
	return &cli.Command{
		Name:      "update",
		Usage:     "ask where plugins came from for what is there now, and install that",
		ArgsUsage: "[PLUGIN]",
		Description: "Without a name all are asked for that plugin install brought. What would change is shown,\n" +
			"and then asked about on a terminal; elsewhere it takes --yes. What was signed when it was\n" +
			"installed must be signed by the same key again.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "say what would change, and change nothing"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			registryInsecureFlag(),
			outputFlag(),
		},
		Action: a.pluginUpdate,
	}
}

// updated is one plugin in the result of plugin update.
type updated struct {
	plugins.Update
	Installed *plugins.Installed `json:"installed,omitempty"`
	Error     string             `json:"error,omitempty"`
}

func (a *app) pluginUpdate(ctx *cli.Context) error {
	if ctx.NArg() > 1 {
		_, err := onePlugin(ctx)
		return err
	}
	s, err := a.pluginStore(ctx)
	if err != nil {
		return err
	}
	names := ctx.Args().Slice()
	if len(names) == 0 {
		if names, err = s.Names(); err != nil {
			return err
		}
	}
	var rows []updated
	var errs []error
	text := ctx.String("output") != "json"
	for _, name := range names {
		u, err := s.Ask(ctx.Context, name)
		row := updated{Update: u}
		if err == nil && text {
			a.printUpdate(u)
		}
		if err == nil && u.Current == "" && !ctx.Bool("check") {
			row.Installed, err = a.applyUpdate(ctx, s, u)
		}
		if err != nil {
			row.Name, row.Error = name, oneLine(err)
			errs = append(errs, err)
		}
		rows = append(rows, row)
	}
	return several(append(errs, a.result(ctx, rows, func() {
		if len(rows) == 0 {
			a.printf("no plugins\n")
		}
	}))...)
}

func (a *app) printUpdate(u plugins.Update) {
	if u.Current != "" {
		a.printf("%s: nothing to do: %s\n", u.Name, u.Current)
		return
	}
	a.printf("%s: %s has another:\n", u.Name, u.Source)
	for _, line := range u.Changes {
		a.printf("  %s\n", line)
	}
}

func (a *app) applyUpdate(ctx *cli.Context, s *plugins.Store, u plugins.Update) (*plugins.Installed, error) {
	if !ctx.Bool("yes") {
		if _, is := terminal(a.in); !is || ctx.String("output") == "json" {
			return nil, &usageError{fmt.Sprintf("the %s plugin would be replaced, and nobody can be asked", u.Name), "look at it with --check, and have it done with --yes"}
		}
		fmt.Fprintf(a.err, "Replace the %s plugin, which runs as root? [y/N] ", u.Name)
		answer, err := bufio.NewReader(a.in).ReadString('\n')
		if err != nil {
			fmt.Fprintln(a.err)
		}
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return nil, errCalledOff
		}
	}
	done, err := s.Apply(ctx.Context, u)
	if err != nil {
		return nil, err
	}
	if ctx.String("output") != "json" {
		a.printInstalled(done)
	}
	return &done, nil
}
