package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func (a *app) cloneCommand() *cli.Command {
	return &cli.Command{
		Name:      "clone",
		Usage:     "make a machine out of another one, with an identity of its own",
		ArgsUsage: "SOURCE NAME",
		Description: "The clone has the files of SOURCE as they are now, root's password and the keys that\n" +
			"are let in among them, and what was asked for of SOURCE, but for what is given here.\n" +
			"Address, ids, host name and host key are its own. It does not have the published ports\n" +
			"of SOURCE: a port of this host leads to one machine.",
		Flags: append(cloneFlags(),
			&cli.BoolFlag{Name: "live", Usage: "if SOURCE runs, hold it still while it is copied (a snapshot, where one can be made, needs neither)"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and touch nothing"},
			onErrorFlag(),
			outputFlag(),
		),
		Action: a.clone,
	}
}

// cloneFlags are those of create's that a clone may have other than its source.
// But for the time that it may take there are no defaults for them: what is not
// given is as it is with the source.
func cloneFlags() []cli.Flag {
	taken := []string{
		"directory", "address", "gateway", "dns", "publish", "cpu-quota", "memory-max", "memory-high", "io-bandwidth",
		"io-weight", "tasks-max", "driver", "no-boot", "timeout", "enable", "ttl", "label",
		"password-file", "password-stdin", "password-hash", "generate-password", "ssh-key",
	}
	var flags []cli.Flag
	for _, f := range specFlags() {
		if !slices.Contains(taken, f.Names()[0]) {
			continue
		}
		switch f := f.(type) {
		case *cli.StringFlag:
			f.EnvVars, f.Value = nil, ""
			f.Usage = ofTheSource(f.Usage)
		case *cli.StringSliceFlag:
			f.EnvVars = nil
			f.Usage = ofTheSource(f.Usage)
		}
		flags = append(flags, f)
	}
	return flags
}

// ofTheSource says what the default of a flag is for a clone.
func ofTheSource(usage string) string {
	words, _, had := strings.Cut(usage, " (default: ")
	if !had {
		return usage
	}
	if strings.Contains(usage, "ADDRESS") { // which is never the source's
		return usage
	}
	return words + " (default: the source's)"
}

// cloned is the result of clone.
type cloned struct {
	created
	Source string `json:"source"`
	Way    string `json:"way"` // snapshot, reflink or copy
	Access string `json:"access"`
}

func (a *app) cloning(ctx *cli.Context) (machines.Cloning, error) {
	var c machines.Cloning
	if ctx.NArg() > 2 {
		return c, &usageError{
			fmt.Sprintf("unexpected argument %q", strings.Join(ctx.Args().Slice()[2:], " ")),
			"clone takes a machine and a name for its clone",
		}
	}
	var e *spec.FieldError
	if ctx.NArg() == 0 {
		return c, &usageError{"no machine was given to clone", "nspawn-build clone SOURCE NAME; nspawn-build list shows the machines"}
	}
	if c.Origin, e = spec.ParseName(ctx.Args().First()); e != nil {
		e.Field = "source"
		return c, spec.Invalid{e}
	}
	name := ctx.Args().Get(1)
	if name == "" {
		return c, &usageError{"no name was given for the clone", "nspawn-build clone " + c.Origin + " NAME"}
	}
	if err := a.noCommand(name); err != nil {
		return c, err
	}
	var err error
	if c.Run, err = flaggedRun(ctx); err != nil {
		return c, err
	}
	got, err := a.givenAccess(ctx) // nobody is asked: the source's will do
	if err != nil {
		return c, err
	}
	c.Live, c.Secret = ctx.Bool("live"), got.secret
	c.Input = spec.Input{
		Name: name, Address: ctx.String("address"), Gateway: ctx.String("gateway"), DNS: ctx.StringSlice("dns"), Publish: ctx.StringSlice("publish"),
		CPUQuota: ctx.String("cpu-quota"), MemoryMax: ctx.String("memory-max"), MemoryHigh: ctx.String("memory-high"),
		IOBandwidth: ctx.String("io-bandwidth"), IOWeight: ctx.String("io-weight"), TasksMax: ctx.String("tasks-max"),
		Driver: ctx.String("driver"), Enable: ctx.Bool("enable"), TTL: ctx.String("ttl"), Labels: ctx.StringSlice("label"),
		Password: got.kind, SSHKeys: got.keys,
	}
	if dir := ctx.String("directory"); dir != "" {
		c.Input.Directory, err = filepath.Abs(dir)
	}
	return c, err
}

func (a *app) clone(ctx *cli.Context) error {
	c, err := a.cloning(ctx)
	if err != nil {
		return err
	}
	house, err := a.house()
	if err != nil {
		return err
	}
	if ctx.Bool("dry-run") {
		out, err := house.PlanClone(ctx.Context, c)
		if err != nil {
			return err
		}
		res := outlook(out)
		return a.result(ctx, res, func() { a.printPlan(ctx, "", res) })
	}
	start := time.Now()
	out, err := house.Clone(ctx.Context, c)
	if err != nil {
		return err
	}
	m := out.Machine
	res := cloned{
		created: outcome(out, c.Run, c.Secret, ctx.StringSlice("ssh-key"), start),
		Source:  c.Origin, Way: string(m.Clone.Way), Access: accessLine(c),
	}
	return a.result(ctx, res, func() {
		if out.Changed {
			a.printf("%s is a clone of %s, made by %s; it lets in %s\n", m.Name, c.Origin, res.Way, res.Access)
		}
		a.printCreated(ctx, res.created)
	})
}

// accessLine says how one logs in.
func accessLine(c machines.Cloning) string {
	switch newPassword, newKeys := c.Input.Password != spec.PasswordLocked, len(c.Input.SSHKeys) > 0; {
	case newPassword && newKeys:
		return "the password and the keys given"
	case newPassword:
		return "the new password, and the keys of " + c.Origin
	case newKeys:
		return "the keys given, and the password of " + c.Origin + " if it has one"
	}
	return "root's password and the keys of " + c.Origin
}
