package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/plugincheck"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
)

func (a *app) pluginCheckCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "try a plugin and tell which rules it keeps to",
		ArgsUsage: "BINARY",
		Description: "Runs the binary of a plugin, in any language, as create would, and holds it to\n" +
			"the rules of docs/conformance.md: what it answers to good and bad requests, what the\n" +
			"tree is that it makes, what it leaves behind, how it is cancelled. The binary need not\n" +
			"be installed, and is run as root though no plugins.lock vouches for it.\n" +
			"With --boot what it makes is booted, too.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "distro", Usage: "try `DISTRO` (default: the first that it makes)"},
			&cli.StringFlag{Name: "release", Usage: "try `RELEASE` (default: the plugin's)"},
			&cli.StringFlag{Name: "arch", Usage: "try `ARCH` as uname -m prints it (default: this host's)"},
			&cli.StringSliceFlag{Name: "mirror", Usage: "take packages from `URL`; may be repeated"},
			&cli.StringFlag{Name: "keyring", Usage: "trust the keys in `FILE` in place of the built-in ones"},
			&cli.StringSliceFlag{Name: "option", Usage: "`KEY=VALUE` for the plugin; may be repeated"},
			&cli.StringSliceFlag{Name: "package", Usage: "install `PACKAGE` too; may be repeated"},
			&cli.BoolFlag{Name: "boot", Usage: "boot what it makes, and check that it can be worked with"},
			&cli.BoolFlag{Name: "offline", Usage: "leave out what needs a mirror: making a tree, above all"},
			&cli.StringSliceFlag{Name: "only", Usage: "run only the `RULE` or group of rules; may be repeated"},
			&cli.BoolFlag{Name: "list-rules", Usage: "print the rules, and run nothing"},
			&cli.DurationFlag{Name: "silence", Value: 15 * time.Minute, Usage: "how long a job may go without a word"},
			&cli.StringFlag{Name: "directory", Value: machines.CacheDir, Usage: "make trees in a directory of their own in `DIR`"},
			&cli.StringFlag{Name: "junit", Usage: "write the report as JUnit does to `FILE` as well"},
			outputFlag(),
		},
		Action: a.pluginCheck,
	}
}

func (a *app) pluginCheck(ctx *cli.Context) error {
	if ctx.Bool("list-rules") {
		return a.listRules(ctx)
	}
	if ctx.NArg() != 1 {
		return &usageError{"plugin check takes the binary of one plugin", "nspawn-build plugin check ./nspawn-build-plugin-NAME"}
	}
	c, err := checked(ctx)
	if err != nil {
		return err
	}
	if err := needRoot(); err != nil { // to give a plugin its namespaces
		return err
	}
	h := a.plugins()
	path, err := filepath.Abs(ctx.Args().First())
	if err != nil {
		return err
	}
	h.Silence = ctx.Duration("silence")
	dir, err := filepath.Abs(ctx.String("directory"))
	if err != nil {
		return err
	}
	place, leave, err := plugincheck.Place(dir)
	if err != nil {
		return err
	}
	report, err := a.tried(ctx, h, path, place, c)
	if err = errors.Join(err, leave()); err != nil {
		return err
	}
	return a.reported(ctx, report)
}

// checked reads what is to be tried.
func checked(ctx *cli.Context) (conformance.Config, error) {
	c := conformance.Config{
		Offline: ctx.Bool("offline"), Only: ctx.StringSlice("only"),
		Request: sdk.Request{
			Distro: ctx.String("distro"), Release: ctx.String("release"), Architecture: ctx.String("arch"),
			Mirrors: ctx.StringSlice("mirror"), Packages: ctx.StringSlice("package"),
		},
	}
	if ctx.Bool("boot") && c.Offline {
		return c, &usageError{"--boot and --offline exclude each other", "what is booted has to be made"}
	}
	if d := ctx.Duration("silence"); d <= 0 {
		return c, &usageError{fmt.Sprintf("silence: %q is not a time that anything could be done in", d), "use 15m, say"}
	}
	for _, option := range ctx.StringSlice("option") {
		key, value, ok := strings.Cut(option, "=")
		if !ok {
			return c, &usageError{fmt.Sprintf("option: %q is not KEY=VALUE", option), "nspawn-build plugin list shows options"}
		}
		if c.Request.Options == nil {
			c.Request.Options = map[string]string{}
		}
		c.Request.Options[key] = value
	}
	if file := ctx.String("keyring"); file != "" {
		if err := readable(file); err != nil {
			return c, err
		}
		var err error
		if c.Request.Keyring, err = filepath.Abs(file); err != nil {
			return c, err
		}
	}
	return c, nil
}

// tried runs the rules over the plugin that is on trial.
func (a *app) tried(ctx *cli.Context, h *pluginhost.Host, path, place string, c conformance.Config) (conformance.Report, error) {
	subject, err := plugincheck.New(h, path, developer(), place)
	if err != nil {
		return conformance.Report{}, err
	}
	a.log.Warnf("%s is run as root, and nothing vouches for it: sha256 %s", path, subject.SHA256())
	c.Subject = subject
	if ctx.Bool("boot") {
		c.Boot = plugincheck.Booter(place, machines.RuntimeDir)
	}
	group := ""
	c.Begin = func(r conformance.Rule) {
		if r.Group != group {
			group = r.Group
			a.log.Info("looking at " + group)
		}
	}
	report, err := conformance.Run(ctx.Context, c)
	if report.Plugin == "" { // it has not come to say it
		report.Plugin = subject.Name()
	}
	var unknown *conformance.UnknownRuleError
	if errors.As(err, &unknown) {
		return report, &usageError{"only: " + err.Error(), "nspawn-build plugin check --list-rules prints them"}
	}
	return report, err
}

// reported prints a report and says whether all is well.
func (a *app) reported(ctx *cli.Context, r conformance.Report) error {
	if file := ctx.String("junit"); file != "" {
		var text strings.Builder
		if err := plugincheck.WriteJUnit(&text, r); err != nil {
			return err
		}
		if err := atomicfile.Write(file, []byte(text.String()), 0o644); err != nil {
			return fmt.Errorf("junit: %w", err)
		}
	}
	var written error
	if err := a.result(ctx, r, func() { written = r.WriteText(a.out) }); err != nil {
		return err
	}
	if written != nil {
		return written
	}
	if !r.OK {
		return &brokenRulesError{r}
	}
	return nil
}

// brokenRulesError is a plugin that does not keep to the rules.
type brokenRulesError struct{ report conformance.Report }

func (e *brokenRulesError) Error() string {
	var ids []string
	for _, r := range e.report.Results {
		if r.Status == conformance.Broken {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return "no rule could be looked at"
	}
	return fmt.Sprintf("the %s plugin breaks %s", e.report.Plugin, strings.Join(ids, ", "))
}

// judgePluginCheck is the table for plugins that were tried.
func judgePluginCheck(err error) (verdict, bool) {
	var broken *brokenRulesError
	if errors.As(err, &broken) {
		return verdict{exitBootstrap, "the report says how to meet each rule, and docs/conformance.md what all are for"}, true
	}
	return verdict{}, false
}

func (a *app) listRules(ctx *cli.Context) error {
	rules := conformance.Rules()
	return a.result(ctx, rules, func() {
		for _, r := range rules {
			a.printf("%-26s %s\n", r.ID, r.Says)
		}
	})
}
