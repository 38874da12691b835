package main

import (
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func (a *app) versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Flags: []cli.Flag{outputFlag()},
		Action: func(ctx *cli.Context) error {
			res := struct {
				Version  string `json:"version"`
				Protocol string `json:"protocol"`
				Go       string `json:"go"`
			}{version, sdk.Protocol, runtime.Version()}
			return a.result(ctx, res, func() {
				a.printf("nspawn-build %s, plugin protocol %s, %s\n", res.Version, res.Protocol, res.Go)
			})
		},
	}
}
