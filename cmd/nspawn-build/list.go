package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// listed is one machine in the results of list and status.
type listed struct {
	Name      string      `json:"name"`
	State     string      `json:"state"` // running, stopped, incomplete or unknown
	Distro    string      `json:"distro"`
	Release   string      `json:"release,omitempty"`
	Driver    spec.Driver `json:"driver"`
	Address   string      `json:"address,omitempty"`   // none without a link
	Interface string      `json:"interface,omitempty"` // on this host
	Tree      string      `json:"tree"`
	Created   time.Time   `json:"created"`
	Leader    int         `json:"leader,omitempty"`
	Since     *time.Time  `json:"since,omitempty"`
	Limits    spec.Limits `json:"limits"`

	Labels  map[string]string `json:"labels,omitempty"`
	Expires *time.Time        `json:"expires,omitempty"`
	Enabled bool              `json:"enabled,omitempty"` // this host boots it when it boots itself
	Problem string            `json:"problem,omitempty"`
}

func describe(v machines.View) listed {
	m := v.Machine
	l := listed{
		Name: m.Name, State: string(v.Status.State), Distro: m.Spec.Distro, Release: release(m), Driver: m.Driver,
		Address: address(m), Interface: m.Interface, Tree: m.Tree.Path, Created: m.Created,
		Leader: v.Status.Leader, Limits: m.Spec.Limits, Labels: m.Spec.Labels, Enabled: m.Spec.Enable, Problem: v.Problem,
	}
	if !m.Expires.IsZero() {
		l.Expires = &m.Expires
	}
	if !v.Status.Since.IsZero() {
		l.Since = &v.Status.Since
	}
	switch {
	case v.Problem != "":
		l.State = "unknown"
	case !m.Complete && v.Status.State != driver.Running:
		l.State = "incomplete"
	}
	return l
}

func (a *app) listCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the machines",
		Flags: []cli.Flag{labelFlag(), outputFlag()},
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() > 0 {
				return &usageError{fmt.Sprintf("unexpected argument %q", ctx.Args().First()), "list takes none; status shows one machine"}
			}
			labels, err := selectors(ctx)
			if err != nil {
				return err
			}
			house, err := a.house()
			if err != nil {
				return err
			}
			views, listErr := house.List(ctx.Context)
			all := make([]listed, 0, len(views))
			for _, v := range views {
				if (machines.Choice{Labels: labels}).Holds(v.Machine) {
					all = append(all, describe(v))
				}
			}
			if err := a.result(ctx, all, func() { a.printTable(all) }); err != nil {
				return err
			}
			return listErr
		},
	}
}

func (a *app) printTable(all []listed) {
	if len(all) == 0 {
		a.printf("no machines\n")
		return
	}
	expire := slices.ContainsFunc(all, func(l listed) bool { return l.Expires != nil })
	w := tabwriter.NewWriter(harmless{a.out}, 0, 4, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	if head := []string{"NAME", "STATE", "DISTRO", "ADDRESS", "DRIVER", "TREE"}; expire {
		row(slices.Insert(head, 5, "EXPIRES")...)
	} else {
		row(head...)
	}
	for _, l := range all {
		cells := []string{l.Name, l.State, strings.TrimSpace(l.Distro + " " + l.Release), orNone(l.Address), string(l.Driver), l.Tree}
		if expire {
			cells = slices.Insert(cells, 5, expiry(l.Expires, time.Now()))
		}
		row(cells...)
	}
	_ = w.Flush()
}

// expiry says how far away the end of a machine's time is.
func expiry(at *time.Time, now time.Time) string {
	if at == nil {
		return "never"
	}
	left := at.Sub(now)
	switch {
	case left <= 0:
		return "over"
	case left < time.Minute:
		return "in " + left.Round(time.Second).String()
	case left < time.Hour:
		return fmt.Sprintf("in %dm", int(left.Minutes()))
	case left < 48*time.Hour:
		return fmt.Sprintf("in %dh%02dm", int(left.Hours()), int(left.Minutes())%60)
	}
	return fmt.Sprintf("in %dd", int(left.Hours())/24)
}
