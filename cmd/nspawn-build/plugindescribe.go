package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/plugins"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

type listing = pluginhost.Listing

func (a *app) pluginDescribeCommand() *cli.Command {
	return &cli.Command{
		Name:      "describe",
		Usage:     "say everything that a plugin says of itself",
		ArgsUsage: "PLUGIN",
		Flags:     []cli.Flag{devPluginFlag(), outputFlag()},
		Action: func(ctx *cli.Context) error {
			name, err := onePlugin(ctx)
			if err != nil {
				return err
			}
			if err := needRoot(); err != nil {
				return err
			}
			found, err := a.plugins().List(ctx.Context)
			if err != nil {
				return err
			}
			at := slices.IndexFunc(found, func(l listing) bool { return l.Name == name && !pluginhost.Hidden(l.Err) })
			if at < 0 {
				return &plugins.Error{
					Kind: plugins.NotInstalled, Problem: fmt.Sprintf("there is no plugin %q", name),
					Advice: "nspawn-build plugin list shows what there is",
				}
			}
			l := found[at]
			if l.Err != nil {
				return l.Err
			}
			return a.result(ctx, pluginDescription{row(l), l.Description.Protocol, l.Description.Features, l.Description.Tools}, func() { a.printDescription(l) })
		},
	}
}

// pluginDescription is the result of plugin describe.
type pluginDescription struct {
	pluginRow
	Protocol string         `json:"protocol"`
	Features []string       `json:"features,omitempty"`
	Tools    []sdk.ToolNeed `json:"tools,omitempty"`
}

func (a *app) printDescription(l listing) {
	d := l.Description
	w := tabwriter.NewWriter(harmless{a.out}, 0, 4, 2, ' ', 0)
	line := func(label string, values ...string) {
		if text := strings.Join(slices.DeleteFunc(values, func(s string) bool { return s == "" }), ", "); text != "" {
			fmt.Fprintf(w, "%s\t%s\n", label, text)
		}
	}
	line("plugin", l.Name+" "+d.Version)
	line("protocol", d.Protocol)
	line("file", l.Path)
	line("sha256", l.SHA256)
	for _, p := range pinLines(row(l)) {
		line(p[0], p[1])
	}
	line("features", d.Features...)
	for _, distro := range d.Distros {
		line("distro", distro.Name+" ("+distro.Title+")")
		line("  releases", distro.Releases...)
		line("  default", distro.DefaultRelease)
		line("  architectures", distro.Architectures...)
	}
	for _, o := range d.Options {
		line("option", o.Name+"="+strings.Join(o.Choices, "|"))
		line("  does", o.Help)
		line("  default", o.Default)
	}
	for _, t := range d.Tools {
		line("tool", strings.Join(t.AnyOf, " or "))
		line("  for", t.Purpose)
		line("  of", t.Distros...)
	}
	_ = w.Flush()
}

// pinLines say where a plugin came from.
func pinLines(r pluginRow) [][2]string {
	var lines [][2]string
	for _, l := range [][2]string{{"source", r.Source}, {"digest", r.Digest}, {"signed by", r.Signer}} {
		if l[1] != "" {
			lines = append(lines, l)
		}
	}
	if r.Dev {
		lines = append(lines, [2]string{"dev", "nothing vouches for it: --dev-plugin"})
	}
	return lines
}
