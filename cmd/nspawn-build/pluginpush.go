package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/plugins"
	"github.com/nspawn-build/nspawn-build/core/registry"
)

func (a *app) pluginPushCommand() *cli.Command {
	return &cli.Command{
		Name:      "push",
		Usage:     "upload a plugin to a registry",
		ArgsUsage: "FILE REF",
		Description: "FILE is called nspawn-build-plugin-NAME, REF is oci://HOST/REPOSITORY:TAG. A signature\n" +
			"FILE.sig goes with it: ssh-keygen -Y sign -n " + plugins.Namespace + " -f KEY FILE.\n" +
			"A program says itself which architecture it is for; of a script --platform says it, FILE\n" +
			"then being one of those named there.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "platform", Usage: "upload for another architecture too: `OS/ARCH=FILE`, such as linux/arm64=build/plugin; may be repeated"},
			registryInsecureFlag(),
			outputFlag(),
		},
		Action: a.pluginPush,
	}
}

// pushed is the result of plugin push.
type pushed struct {
	Reference string `json:"reference"`
}

func (a *app) pluginPush(ctx *cli.Context) error {
	if ctx.NArg() != 2 {
		return &usageError{fmt.Sprintf("plugin push takes a file and where it goes, not %d arguments", ctx.NArg()), "nspawn-build plugin push nspawn-build-plugin-NAME oci://registry.example.org/plugins/name:1.2"}
	}
	file := ctx.Args().First()
	programs := []plugins.Program{{Path: file}}
	for _, text := range ctx.StringSlice("platform") {
		p, err := plugins.ParseProgram(text)
		if err != nil {
			return err
		}
		if p.Path == file && programs[0].Arch == "" {
			programs[0] = p
			continue
		}
		programs = append(programs, p)
	}
	s := &plugins.Store{Registry: registry.Options{Insecure: ctx.Bool("registry-insecure")}}
	ref, err := s.Push(ctx.Context, programs, ctx.Args().Get(1))
	if err != nil {
		return err
	}
	return a.result(ctx, pushed{ref}, func() { a.printf("%s\n", ref) })
}
