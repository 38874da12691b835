package main

import (
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// customizeFlags say what is done to a tree once it is bootstrapped.
func customizeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "copy", Usage: "copy a file or a tree of this host into the tree: `SOURCE:TARGET`; may be repeated"},
		&cli.StringSliceFlag{Name: "script", Usage: "run the program `FILE` of this host in the tree, shut off from host and network; may be repeated"},
		&cli.StringSliceFlag{Name: "hook", Usage: "run a command in the tree before or after a stage: `before|after:STAGE:COMMAND`; may be repeated"},
		&cli.BoolFlag{Name: "script-network", Usage: "let scripts and hooks use this host's network"},
	}
}

func snapshotFlag() cli.Flag {
	return &cli.StringFlag{Name: "snapshot", Usage: "take packages as they were at a `TIME`, such as 2026-11-01", EnvVars: env("snapshot")}
}

// customizeInput reads them. Paths of the host begin where the command runs.
func customizeInput(ctx *cli.Context, in *spec.Input) error {
	in.Snapshot, in.Hooks, in.ScriptNetwork = ctx.String("snapshot"), ctx.StringSlice("hook"), ctx.Bool("script-network")
	for _, s := range ctx.StringSlice("copy") {
		whole, err := absolute(s)
		if err != nil {
			return err
		}
		in.Copies = append(in.Copies, whole)
	}
	for _, s := range ctx.StringSlice("script") {
		if s != "" {
			var err error
			if s, err = filepath.Abs(s); err != nil {
				return err
			}
		}
		in.Scripts = append(in.Scripts, s)
	}
	return nil
}

// absolute makes the source of a copy absolute.
func absolute(s string) (string, error) {
	source, _, ok := strings.Cut(s, ":")
	if !ok || source == "" || filepath.IsAbs(source) {
		return s, nil
	}
	whole, err := filepath.Abs(".")
	if err != nil {
		return "", err
	}
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(whole) + "/" + s, nil
}
