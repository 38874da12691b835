package main

import (
	"cmp"
	"errors"
	goversion "go/version"
	"os"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/scaffold"
)

func (a *app) pluginNewCommand() *cli.Command {
	return &cli.Command{
		Name:      "new",
		Usage:     "begin a plugin for another distribution",
		ArgsUsage: "NAME",
		Description: "Writes a repository with a plugin in Go that builds, keeps to every rule and has\n" +
			"tests and CI: it unpacks a root file system. Put your distribution's own tool in\n" +
			"the place of tar. docs/plugin-tutorial.md goes on from there. It needs no root.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "directory", Usage: "make `DIR`, which must not exist (default: nspawn-build-plugin-NAME)"},
			&cli.StringFlag{Name: "module", Usage: "name the Go `MODULE`, such as github.com/you/plugin (default: example.org/nspawn-build-plugin-NAME)"},
			&cli.StringFlag{Name: "sdk", Usage: "build with the clone of nspawn-build in `DIR`, rather than with a release"},
			outputFlag(),
		},
		Action: a.pluginNew,
	}
}

func (a *app) pluginNew(ctx *cli.Context) error {
	if ctx.NArg() != 1 {
		return &usageError{"plugin new takes the name of one plugin", "nspawn-build plugin new my-linux"}
	}
	p := scaffold.Plugin{
		Name: ctx.Args().First(), Module: ctx.String("module"), Source: ctx.String("sdk"), SDK: version,
		Go: language(runtime.Version()),
	}
	dir := ctx.String("directory")
	if dir == "" {
		dir = p.Binary()
	}
	files, err := scaffold.Write(dir, p)
	if err != nil {
		return newPluginError(err)
	}
	result := struct {
		Directory string   `json:"directory"`
		Files     []string `json:"files"`
	}{dir, files}
	if p.Unpinned() {
		a.log.Warnf("%s/go.mod says no version of the SDK to build with: this nspawn-build is %s, which is no release", dir, version)
		a.log.Warn(hintMark + "once there is a release: go get github.com/nspawn-build/nspawn-build@latest; until then begin again with --sdk and a clone of its repository")
	}
	return a.result(ctx, result, func() {
		a.printf("%s is made: a plugin that unpacks a root file system\n", dir)
		first := ""
		if p.Unpinned() {
			first = "go get github.com/nspawn-build/nspawn-build@latest && "
		}
		a.printf("  build it   cd %s && %sgo mod tidy && make build\n", dir, first)
		a.printf("  try it     make check\n")
		a.printf("  go on      README.md says what to change\n")
	})
}

// newPluginError is a mistake of the command line where it is one.
func newPluginError(err error) error {
	var wrong *scaffold.FieldError
	switch {
	case errors.As(err, &wrong):
		return &usageError{wrong.Error(), wrong.Hint}
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return &usageError{err.Error(), "name a new directory in one that is there and yours with --directory"}
	}
	return err
}

// language is the version of Go that go.mod asks for: of "go1.26.8" it is 1.26.
func language(release string) string {
	return cmp.Or(strings.TrimPrefix(goversion.Lang(release), "go"), "1.26") // a development version has none
}
