package main

import (
	"fmt"
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
	Address   string      `json:"address"`
	Interface string      `json:"interface"`
	Tree      string      `json:"tree"`
	Created   time.Time   `json:"created"`
	Leader    int         `json:"leader,omitempty"`
	Since     *time.Time  `json:"since,omitempty"`
	Limits    spec.Limits `json:"limits"`
	Problem   string      `json:"problem,omitempty"`
}

func describe(v machines.View) listed {
	m := v.Machine
	l := listed{
		Name: m.Name, State: string(v.Status.State), Distro: m.Spec.Distro, Release: release(m), Driver: m.Driver,
		Address: m.Address.Addr().String(), Interface: m.Interface, Tree: m.Tree.Path, Created: m.Created,
		Leader: v.Status.Leader, Limits: m.Spec.Limits, Problem: v.Problem,
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
		Flags: []cli.Flag{outputFlag()},
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() > 0 {
				return &usageError{fmt.Sprintf("unexpected argument %q", ctx.Args().First()), "list takes none; status shows one machine"}
			}
			house, err := a.house()
			if err != nil {
				return err
			}
			views, listErr := house.List(ctx.Context)
			all := make([]listed, 0, len(views))
			for _, v := range views {
				all = append(all, describe(v))
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
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tDISTRO\tADDRESS\tDRIVER\tTREE")
	for _, l := range all {
		fmt.Fprintf(w, "%s\t%s\t%s %s\t%s\t%s\t%s\n", l.Name, l.State, l.Distro, l.Release, l.Address, l.Driver, l.Tree)
	}
	_ = w.Flush()
}
