package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// status is the result of status: a machine with what its own systemd says.
type status struct {
	listed
	System string   `json:"system,omitempty"` // running, degraded, starting, …
	Failed []string `json:"failed,omitempty"` // units
	SSH    string   `json:"ssh,omitempty"`
	Bounds *bounded `json:"bounds,omitempty"`
}

func (a *app) statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show one machine",
		ArgsUsage: "NAME",
		Flags:     []cli.Flag{outputFlag()},
		Action: a.onMachine(func(ctx *cli.Context, house *machines.House, name string) error {
			v, err := house.Get(ctx.Context, name)
			if err != nil {
				return err
			}
			res := status{listed: describe(v), SSH: sshLine(nil, v.Machine), Bounds: askBounds(ctx.Context, house, v)}
			if v.Status.State == driver.Running {
				res.System, res.Failed = askSystem(ctx.Context, v)
			}
			return a.result(ctx, res, func() { a.printStatus(res) })
		}),
	}
}

// askSystem asks the machine's systemd how it is.
func askSystem(ctx context.Context, v machines.View) (state string, failed []string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ask := func(argv ...string) string {
		// The exit status only repeats what is printed.
		out, _, err := inside.Command{Leader: v.Status.Leader, Argv: argv}.Output(ctx, 1<<16)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	state = ask("systemctl", "is-system-running")
	for line := range strings.Lines(ask("systemctl", "list-units", "--failed", "--plain", "--no-legend")) {
		if f := strings.Fields(line); len(f) > 0 {
			failed = append(failed, f[0])
		}
	}
	return state, failed
}

func (a *app) printStatus(s status) {
	a.printf("%s: %s", s.Name, s.State)
	if s.System != "" && s.System != s.State {
		a.printf(" (%s)", s.System)
	}
	a.printf("\n")
	row := func(label, value string) {
		if value != "" {
			a.printf("  %-10s %s\n", label, value)
		}
	}
	row("problem", s.Problem)
	row("failed", strings.Join(s.Failed, ", "))
	row("distro", s.Distro+" "+s.Release)
	if s.Address != "" {
		row("address", s.Address+" on "+s.Interface)
	}
	row("driver", string(s.Driver))
	row("limits", limitsLine(s.Limits))
	s.Bounds.rows(row)
	row("tree", s.Tree)
	row("labels", labelsLine(s.Labels))
	if s.Expires != nil {
		row("expires", s.Expires.Local().Format(time.DateTime)+" ("+expiry(s.Expires, time.Now())+")")
	}
	if s.Enabled {
		row("enabled", "this host boots it when it boots itself")
	}
	if s.Since != nil {
		row("up since", s.Since.Format(time.DateTime))
	}
	row("log in", s.SSH)
}

func limitsLine(l spec.Limits) string {
	return strings.Join(l.Words(), ", ")
}

func labelsLine(labels map[string]string) string {
	words := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, key+"="+labels[key])
	}
	return strings.Join(words, ", ")
}
