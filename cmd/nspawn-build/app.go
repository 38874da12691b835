package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/direct"
	"github.com/nspawn-build/nspawn-build/core/driver/systemd"
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// app is the command line and what its commands share.
type app struct {
	streams
	cli      *cli.App
	log      *logrus.Logger
	config   config
	progress *progress
	dev      []pluginhost.DevPlugin
	line     []string // the command line, in the flag parser's order
}

func newApp(s streams) *app {
	a := &app{streams: s, log: logrus.New()}
	a.log.SetOutput(s.err)
	a.log.SetFormatter(plainFormatter{})
	a.progress = newProgress(a.log, s.err)
	a.cli = &cli.App{
		Name:            "nspawn-build",
		Usage:           "make systemd-nspawn machines that one can log in to",
		UsageText:       "nspawn-build --distro debian mycontainer\nnspawn-build COMMAND [flags] NAME",
		Version:         version,
		HideHelpCommand: true,
		// A value is a value: A=1,2, or a path with a comma in it.
		DisableSliceFlagSeparator: true,
		Writer:                    s.out,
		ErrWriter:                 s.err,
		ExitErrHandler:            func(*cli.Context, error) {}, // main decides
		OnUsageError:              onUsageError,
		Commands: []*cli.Command{
			a.createCommand(),
			a.cloneCommand(),
			a.planCommand(),
			a.imageCommand(),
			a.diffCommand(),
			a.matrixCommand(),
			a.listCommand(),
			a.statusCommand(),
			a.showCommand(),
			a.startCommand(),
			a.stopCommand(),
			a.restartCommand(),
			a.rebootCommand(),
			a.poweroffCommand(),
			a.enableCommand(),
			a.disableCommand(),
			a.setCommand(),
			a.shellCommand(),
			a.loginCommand(),
			a.sshCommand(),
			a.execCommand(),
			a.copyToCommand(),
			a.copyFromCommand(),
			a.logsCommand(),
			a.destroyCommand(),
			a.removeCommand(),
			a.cacheCommand(),
			a.verifyCommand(),
			a.doctorCommand(),
			a.exportCommand(),
			a.pluginCommand(),
			a.versionCommand(),
			a.completionCommand(),
			a.manCommand(),
			a.superviseCommand(),
			a.hostlinkCommand(),
			a.holdStillCommand(),
			a.pluginLockCommand(),
		},
	}
	for _, c := range a.cli.Commands {
		a.complete(c)
	}
	return a
}

// complete gives a command what all of them have.
func (a *app) complete(c *cli.Command) {
	c.OnUsageError = onUsageError
	c.HideHelpCommand = true
	for _, s := range c.Subcommands {
		a.complete(s)
	}
	if len(c.Subcommands) > 0 {
		c.Action = group
		return
	}
	c.Flags = append(c.Flags, logFlags()...)
	for _, f := range c.Flags {
		if b, ok := f.(*cli.BoolFlag); ok {
			b.DisableDefaultText = true
		}
	}
	act := c.Action
	c.Action = func(ctx *cli.Context) (err error) {
		if a.config, err = readConfig(configPath); err != nil {
			return err
		}
		if err := a.config.apply(ctx); err != nil {
			return err
		}
		if err := a.setLog(ctx); err != nil {
			return err
		}
		if err := a.readDevPlugins(ctx); err != nil {
			return err
		}
		defer a.progress.close()
		return nameMissing(ctx, act(ctx))
	}
}

// group is what a command does that is only the first word of others.
func group(ctx *cli.Context) error {
	if ctx.NArg() == 0 {
		return cli.ShowSubcommandHelp(ctx)
	}
	group, word := ctx.Command.Name, ctx.Args().First()
	names := namesOf(ctx.Command.Subcommands)
	hint := "there is " + group + " " + strings.Join(names, ", "+group+" ")
	if like := spec.Nearest(word, names); like != "" {
		hint = "did you mean " + group + " " + like + "?"
	}
	return &usageError{fmt.Sprintf("%s: %q is not known", group, word), hint}
}

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log-level", Value: "info", Usage: "`LEVEL` of what is said: error, warning, info or debug", EnvVars: env("log-level")},
		&cli.StringFlag{Name: "log-format", Value: "text", Usage: "`FORM` of what is said: text or json", EnvVars: env("log-format")},
	}
}

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text", Usage: "`FORM` of the result: text or json", EnvVars: env("output")}
}

// env is the variable that sets the default of a flag.
func env(flag string) []string {
	return []string{"NSPAWN_BUILD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))}
}

func (a *app) setLog(ctx *cli.Context) error {
	level, err := logrus.ParseLevel(ctx.String("log-level"))
	if err != nil {
		return &usageError{fmt.Sprintf("log-level: %q is not a level", ctx.String("log-level")), "use error, warning, info or debug"}
	}
	a.log.SetLevel(level)
	switch ctx.String("log-format") {
	case "text":
	case "json":
		a.log.SetFormatter(&logrus.JSONFormatter{})
		a.progress.close()
	default:
		return &usageError{fmt.Sprintf("log-format: %q is not a format", ctx.String("log-format")), "use text or json"}
	}
	forms := []string{"text", "json"}
	if ctx.Command.Name == "show" {
		forms = append(forms, "yaml")
	}
	// What logs prints is journalctl's, in whatever form that has for it.
	if o := ctx.String("output"); o != "" && ctx.Command.Name != "logs" && !slices.Contains(forms, o) {
		return &usageError{fmt.Sprintf("output: %q is not a form of output", o), "use " + strings.Join(forms, " or ")}
	}
	return nil
}

// house puts together all that the commands work with.
func (a *app) house() (*machines.House, error) {
	if err := needRoot(); err != nil {
		return nil, err
	}
	h, err := host.Detect()
	if err != nil {
		return nil, err
	}
	pool, err := a.config.pool()
	if err != nil {
		return nil, err
	}
	return &machines.House{
		Host:    h,
		Store:   &store.Store{StateDir: machines.StateDir, RuntimeDir: machines.RuntimeDir},
		Files:   &hostfile.Files{Made: filepath.Join(machines.StateDir, "directories.json")},
		Plugins: a.plugins(),
		Pool:    pool,
		Drivers: map[spec.Driver]driver.Driver{
			spec.DriverSystemd: systemd.New(),
			spec.DriverDirect:  direct.New(direct.Config{RuntimeDir: machines.RuntimeDir, Warn: func(m string) { a.log.Warn(m) }}),
		},
		Tell: a.progress.tell,
	}, nil
}

// needRoot says early and plainly what would else fail somewhere.
func needRoot() error {
	if os.Geteuid() != 0 {
		return &machines.HostError{Problem: "this needs root", Hint: "run it with sudo"}
	}
	return nil
}

func (a *app) plugins() *pluginhost.Host {
	return &pluginhost.Host{
		Directories: pluginhost.DefaultDirectories(), RuntimeDir: machines.RuntimeDir, Log: logrus.NewEntry(a.log), Dev: a.dev,
	}
}

// result prints a result: v as JSON, or what text prints.
func (a *app) result(ctx *cli.Context, v any, text func()) error {
	a.progress.close()
	if ctx.String("output") != "json" {
		text()
		return nil
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printf prints to standard output, where results go.
func (a *app) printf(format string, args ...any) {
	fmt.Fprintf(harmless{a.out}, format, args...)
}

// first returns the first argument as a machine's name.
func first(ctx *cli.Context) (string, error) {
	name, err := spec.ParseName(ctx.Args().First())
	if err != nil {
		return "", spec.Invalid{err}
	}
	return name, nil
}

// one returns the only argument: the machine's name.
func one(ctx *cli.Context) (string, error) {
	name, err := first(ctx)
	if err == nil && ctx.NArg() > 1 {
		err = tooMany(ctx, 1)
	}
	return name, err
}

// onMachine is the action of a verb whose only argument is a machine.
func (a *app) onMachine(do func(ctx *cli.Context, house *machines.House, name string) error) cli.ActionFunc {
	return func(ctx *cli.Context) error {
		name, err := one(ctx)
		if err != nil {
			return err
		}
		house, err := a.house()
		if err != nil {
			return err
		}
		return do(ctx, house, name)
	}
}

func tooMany(ctx *cli.Context, allowed int) error {
	extra := ctx.Args().Slice()[allowed:]
	return &usageError{
		fmt.Sprintf("unexpected argument %q", strings.Join(extra, " ")),
		ctx.Command.HelpName + " takes one machine; nspawn-build --help lists the commands",
	}
}
