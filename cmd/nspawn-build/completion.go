package main

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completionScripts ask the program itself what may come next: see suggest.
//
//go:embed completion
var completionScripts embed.FS

var shells = []string{"bash", "zsh", "fish"}

func (a *app) completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what makes a shell complete commands, flags and machines",
		ArgsUsage: strings.Join(shells, "|"),
		Description: "For bash and zsh: source <(nspawn-build completion bash), for fish: nspawn-build\n" +
			"completion fish | source. make install puts it where the shells find it. Users who\n" +
			"are not root are shown the machines that have a file in /etc/systemd/nspawn.",
		Action: func(ctx *cli.Context) error {
			shell := ctx.Args().First()
			if ctx.NArg() != 1 || !slices.Contains(shells, shell) {
				return &usageError{fmt.Sprintf("shell: %q is not a shell that is known", strings.Join(ctx.Args().Slice(), " ")), "use bash, zsh or fish"}
			}
			script, err := completionScripts.ReadFile("completion/" + shell)
			if err != nil {
				return err
			}
			a.printf("%s", script)
			return nil
		},
	}
}
