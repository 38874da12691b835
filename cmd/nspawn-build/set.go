package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func (a *app) setCommand() *cli.Command {
	return &cli.Command{
		Name:      "set",
		Usage:     "change a machine's limits, at once where it runs",
		ArgsUsage: "NAME",
		Description: "Limits that are not named stay as they are. The value infinity lifts a limit; --unset,\n" +
			"or an empty value, goes back to the host's default. What then bounds the machine is read\n" +
			"back from the kernel. The status is 3 when a limit that was given does not hold.",
		Flags:  append(limitFlags(), outputFlag()),
		Action: a.set,
	}
}

// limitFlags have no variables and are not set by the configuration: what is
// changed is what was written.
func limitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cpu-quota", Usage: "`SHARE` of one CPU, such as 50%"},
		&cli.StringFlag{Name: "memory-max", Usage: "most memory: a `SIZE` such as 512M or 8G"},
		&cli.StringFlag{Name: "memory-high", Usage: "slow the machine down above a `SIZE` of memory"},
		&cli.StringFlag{Name: "io-bandwidth", Usage: "most bytes a second, read and written each: a `SIZE` such as 50M"},
		&cli.StringFlag{Name: "io-weight", Usage: "`WEIGHT` of its I/O, 1 to 10000"},
		&cli.StringFlag{Name: "tasks-max", Usage: "most processes and threads: a `NUMBER`"},
		&cli.StringSliceFlag{Name: "unset", Usage: "go back to the host's default for `LIMIT`, such as memory-max; several with commas between them, or repeated"},
	}
}

// limitChange is one limit in the result of set.
type limitChange struct {
	Limit string `json:"limit"` // the name of its flag
	// Before and After are as on record; empty means the host's default.
	Before string `json:"before"`
	After  string `json:"after"`
	// KernelBefore and Kernel are what the kernel had and has; empty unless
	// the machine runs and that can be known.
	KernelBefore string `json:"kernelBefore,omitempty"`
	Kernel       string `json:"kernel,omitempty"`
	// NotHeld is why the limit does not hold; empty when it does.
	NotHeld string `json:"notHeld,omitempty"`
}

func (a *app) set(ctx *cli.Context) error {
	name, err := one(ctx)
	if err != nil {
		return err
	}
	values, err := limitValues(ctx)
	if err != nil {
		return err
	}
	house, err := a.house()
	if err != nil {
		return err
	}
	out, err := house.SetLimits(ctx.Context, name, func(l *spec.Limits) {
		for limit, value := range values {
			_ = l.Set(limit, value) // limitValues made sure
		}
	})
	if err != nil {
		return err
	}
	res := struct {
		Name    string        `json:"name"`
		Running bool          `json:"running"`
		Changed bool          `json:"changed"`
		Limits  []limitChange `json:"limits"`
	}{name, out.Running, out.Changed, changesOf(out, values)}
	err = a.result(ctx, res, func() {
		switch {
		case !out.Changed:
			a.printf("%s has these limits already\n", name)
		case out.Running:
			a.printf("%s runs, with these limits from now on\n", name)
		default:
			a.printf("%s is off, and has these limits when it starts\n", name)
		}
		for _, c := range res.Limits {
			a.printf("  %-13s %s\n", c.Limit, c)
		}
	})
	if err != nil {
		return err
	}
	return notHeld(name, res.Limits)
}

// unsetLimits are what --unset names: several with commas between them, too,
// for no limit has one in its name.
func unsetLimits(ctx *cli.Context) (limits []string) {
	for _, list := range ctx.StringSlice("unset") {
		limits = append(limits, strings.Split(list, ",")...)
	}
	return limits
}

// limitValues are the limits that a command line names, each with its new
// value, empty for the host's default. All that is wrong is found at once.
func limitValues(ctx *cli.Context) (map[string]string, error) {
	values := map[string]string{}
	var found spec.Invalid
	for _, limit := range spec.LimitNames() {
		if ctx.IsSet(limit) {
			values[limit] = ctx.String(limit)
		}
	}
	for _, limit := range unsetLimits(ctx) {
		if values[limit] != "" {
			return nil, &usageError{fmt.Sprintf("--%s and --unset %s were both given", limit, limit), "give one of them"}
		}
		values[limit] = ""
	}
	for _, limit := range slices.Sorted(maps.Keys(values)) {
		if e := new(spec.Limits).Set(limit, values[limit]); e != nil {
			found = append(found, e)
		}
	}
	if len(found) > 0 {
		return nil, found
	}
	if len(values) == 0 {
		return nil, &usageError{"no limit was given", "such as --memory-max 2G; nspawn-build set --help lists them"}
	}
	return values, nil
}

func changesOf(out machines.Limited, values map[string]string) []limitChange {
	var all []limitChange
	for _, limit := range spec.LimitNames() {
		if _, named := values[limit]; !named {
			continue
		}
		c := limitChange{
			Limit: limit, Before: out.Before.Limits.Show(limit), After: out.After.Limits.Show(limit),
			KernelBefore: out.Before.Kernel.Show(limit), Kernel: out.After.Kernel.Show(limit),
		}
		if values[limit] != "" { // what was unset is whatever else says
			c.NotHeld = reasons(out.After.NotHeld(), limit)
		}
		all = append(all, c)
	}
	return all
}

// reasons are those of one limit, and those of all.
func reasons(all []string, limit string) string {
	var of []string
	for _, reason := range all {
		if text, ok := strings.CutPrefix(reason, "limits."+limit+": "); ok || !strings.HasPrefix(reason, "limits.") {
			of = append(of, text)
		}
	}
	return strings.Join(of, ", and ")
}

// String reads: 512M, was 1G; the kernel has 512M, had 1G.
func (c limitChange) String() string {
	show := func(value, none string) string {
		if value == "" {
			return none
		}
		return value
	}
	text := show(c.After, "not set")
	if c.Before != c.After {
		text += ", was " + show(c.Before, "not set")
	}
	if c.Kernel != "" {
		text += "; the kernel has " + c.Kernel
		if c.KernelBefore != "" && c.KernelBefore != c.Kernel {
			text += ", had " + c.KernelBefore
		}
	}
	return text
}

// notHeld is an error when a limit was given that does not hold: who sets a
// limit relies on it.
func notHeld(name string, changes []limitChange) error {
	var all []string
	for _, c := range changes {
		if c.NotHeld != "" {
			all = append(all, c.Limit+": "+c.NotHeld)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &machines.HostError{
		Problem: name + " has limits on record that do not hold: " + strings.Join(all, "; "),
		Hint:    "they hold once what keeps them from it is gone; nspawn-build set " + name + " --unset LIMIT takes one back",
	}
}
