package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/plugins"
)

func (a *app) pluginCommand() *cli.Command {
	return &cli.Command{
		Name:  "plugin",
		Usage: "look at the distro plugins, install, remove and try them",
		Subcommands: []*cli.Command{
			a.pluginNewCommand(),
			a.pluginListCommand(),
			a.pluginDescribeCommand(),
			a.pluginCheckCommand(),
			a.pluginInstallCommand(),
			a.pluginUpdateCommand(),
			a.pluginVerifyCommand(),
			a.pluginRemoveCommand(),
			a.pluginPushCommand(),
		},
	}
}

// pluginRow is one plugin in the result of plugin list.
type pluginRow struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Path    string      `json:"path"`
	SHA256  string      `json:"sha256,omitempty"`
	Source  string      `json:"source,omitempty"` // that it was installed from
	Digest  string      `json:"digest,omitempty"` // of the artifact there
	Signer  string      `json:"signer,omitempty"` // the fingerprint of who must sign it
	Dev     bool        `json:"dev,omitempty"`    // by --dev-plugin
	Distros []distroRow `json:"distros,omitempty"`
	Options []optionRow `json:"options,omitempty"`
	Refused string      `json:"refused,omitempty"` // why it is not used
}

type distroRow struct {
	Name           string   `json:"name"`
	Title          string   `json:"title"`
	DefaultRelease string   `json:"defaultRelease"`
	Releases       []string `json:"releases"`
	Architectures  []string `json:"architectures"`
}

type optionRow struct {
	Name    string   `json:"name"`
	Help    string   `json:"help"`
	Choices []string `json:"choices,omitempty"`
	Default string   `json:"default,omitempty"`
}

func row(l pluginhost.Listing) pluginRow {
	r := pluginRow{
		Name: l.Name, Version: l.Description.Version, Path: l.Path, SHA256: l.SHA256, Dev: l.Dev,
		Source: l.Pin.Source, Digest: l.Pin.Digest, Signer: plugins.FingerprintOf(l.Pin.Key),
	}
	if l.Err != nil {
		r.Refused = l.Err.Error()
	}
	for _, d := range l.Description.Distros {
		r.Distros = append(r.Distros, distroRow{d.Name, d.Title, d.DefaultRelease, d.Releases, d.Architectures})
	}
	for _, o := range l.Description.Options {
		r.Options = append(r.Options, optionRow{o.Name, o.Help, o.Choices, o.Default})
	}
	return r
}

func (a *app) pluginListCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the plugins with their distros, releases and options",
		Flags: []cli.Flag{devPluginFlag(), outputFlag()},
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() > 0 {
				return &usageError{fmt.Sprintf("unexpected argument %q", ctx.Args().First()), "plugin list takes none"}
			}
			if err := needRoot(); err != nil { // to give a plugin its namespaces
				return err
			}
			found, err := a.plugins().List(ctx.Context)
			if err != nil {
				return err
			}
			rows := make([]pluginRow, 0, len(found))
			for _, l := range found {
				rows = append(rows, row(l))
			}
			return a.result(ctx, rows, func() { a.printPlugins(rows) })
		},
	}
}

func (a *app) printPlugins(rows []pluginRow) {
	if len(rows) == 0 {
		a.printf("no plugins\n")
		return
	}
	for _, r := range rows {
		if r.Refused != "" {
			a.printf("%s: not used: %s\n", r.Name, r.Refused)
			continue
		}
		a.printf("%s %s (%s)\n", r.Name, r.Version, r.Path)
		for _, p := range pinLines(r) {
			a.printf("  %s %s\n", p[0], p[1])
		}
		w := tabwriter.NewWriter(harmless{a.out}, 0, 4, 2, ' ', 0)
		for _, d := range r.Distros {
			fmt.Fprintf(w, "  --distro %s\t%s\tdefault %s\treleases %s\n", d.Name, d.Title, d.DefaultRelease, few(d.Releases))
		}
		for _, o := range r.Options {
			fmt.Fprintf(w, "  --option %s=%s\t%s\n", o.Name, strings.Join(o.Choices, "|"), o.Help)
		}
		_ = w.Flush()
	}
}

// few shows the newest of a list that may be long.
func few(all []string) string {
	const most = 8
	if len(all) > most {
		return strings.Join(all[:most], ", ") + ", …"
	}
	return strings.Join(all, ", ")
}

// pluginLockCommand is for `make build` and `make install`: it vouches for the
// plugins that were just put into a directory.
func (a *app) pluginLockCommand() *cli.Command {
	return &cli.Command{
		Name:      "plugin-lock",
		Usage:     "write the plugins.lock of a directory of plugins",
		ArgsUsage: "DIR [LOCK [PLUGIN...]]",
		Hidden:    true,
		Action: func(ctx *cli.Context) error {
			dir := ctx.Args().First()
			if dir == "" {
				return &usageError{"plugin-lock takes a directory, and perhaps the path of the lock and the plugins that it is about", ""}
			}
			dir, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			lock := ctx.Args().Get(1)
			if lock == "" {
				lock = filepath.Join(dir, "plugins.lock")
			}
			return pluginhost.WriteLock(ctx.Context, dir, lock, ctx.Args().Slice()[min(2, ctx.NArg()):]...)
		},
	}
}
