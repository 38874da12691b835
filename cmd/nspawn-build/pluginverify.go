package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
)

func (a *app) pluginVerifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "compare plugins with their lock: digest, owner, mode and what leads to them",
		ArgsUsage: "[PLUGIN...]",
		Description: "Without names all are looked at. None is started. The exit status is 3 when something\n" +
			"is wrong with any of them.",
		Flags:  []cli.Flag{outputFlag()},
		Action: a.pluginVerify,
	}
}

func (a *app) pluginVerify(ctx *cli.Context) error {
	s, err := a.pluginStore(ctx)
	if err != nil {
		return err
	}
	checks, err := s.Verify(ctx.Args().Slice()...)
	if err != nil {
		return err
	}
	wrong := 0
	err = a.result(ctx, checks, func() {
		for _, c := range checks {
			switch {
			case c.Problem != "":
				a.printf("%s: %s\n", c.Name, c.Problem)
				if c.Hint != "" {
					a.printf("  %s\n", c.Hint)
				}
			case c.Note != "":
				a.printf("%s: %s\n", c.Path, c.Note)
			default:
				a.printf("%s: as it was installed, sha256 %s\n", c.Path, c.SHA256)
			}
		}
		if len(checks) == 0 {
			a.printf("no plugins\n")
		}
	})
	for _, c := range checks {
		if c.Problem != "" {
			wrong++
		}
	}
	if err == nil && wrong > 0 {
		err = &machines.HostError{Problem: fmt.Sprintf("%s not as installed, of %s", count(wrong, "plugin"), count(len(checks), "plugin"))}
	}
	return err
}
