package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func (a *app) manCommand() *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page",
		Description: "It is made from the same table as --help. nspawn-build man | man -l - shows it;\n" +
			"make install puts it where man finds it.",
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() > 0 {
				return &usageError{fmt.Sprintf("unexpected argument %q", ctx.Args().First()), "man takes none"}
			}
			writeManual(a.out, a.cli)
			return nil
		},
	}
}

// exitStatuses explains exit.go's table to people.
var exitStatuses = []struct {
	code  int
	means string
}{
	{exitDone, "Done, or nothing was to be done."},
	{exitFault, "A fault of nspawn-build itself."},
	{exitUsage, "The command line or the spec is wrong; nothing was touched."},
	{exitHost, "This host is not ready: something is missing or does not run."},
	{exitBootstrap, "The bootstrap failed."},
	{exitConfigure, "Configuring the tree or the host failed."},
	{exitBoot, "The machine did not boot, or does not run."},
	{exitUnreachable, "It booted but cannot be reached."},
	{exitExists, "It exists and is not what was asked for, something else is in its place, or another nspawn-build is at work on it."},
	{exitNoMachine, "There is no such machine."},
	{exitInterrupted, "Interrupted, or called off when it was asked."},
}

// manualFiles are the files that users have to do with.
var manualFiles = []struct{ path, what string }{
	{"/etc/nspawn-build/config.yaml", "Defaults of this host: names of flags with their values."},
	{"/var/lib/machines/NAME", "The machine's tree, or a link to it."},
	{"/etc/systemd/nspawn/NAME.nspawn", "Its settings, see systemd.nspawn(5)."},
	{"/var/lib/nspawn-build/", "What is known of the machines; root's alone."},
}

// writeManual writes the manual page in roff, see man(7).
func writeManual(w io.Writer, app *cli.App) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p(`.\" Made by nspawn-build man.`)
	p(`.TH NSPAWN\-BUILD 8 "" "nspawn\-build %s" "System Administration"`, roff(app.Version))
	p(".SH NAME\nnspawn\\-build \\- %s", roff(app.Usage))
	p(".SH SYNOPSIS")
	for line := range strings.Lines(app.UsageText) {
		p(".B %s\n.br", roff(strings.TrimSpace(line)))
	}
	p(".SH COMMANDS")
	for _, c := range app.Commands {
		manualCommand(p, c, c.Name)
	}
	p(".SH EXIT STATUS")
	for _, s := range exitStatuses {
		p(".TP\n.B %d\n%s", s.code, roff(s.means))
	}
	p("%s", roff("exec returns the status of the command that it ran."))
	p(".SH ENVIRONMENT")
	p(".TP\n.B NSPAWN_BUILD_*\n%s", roff("Defaults of flags, as each flag says above. Flags win."))
	p(".SH FILES")
	for _, f := range manualFiles {
		p(".TP\n.I %s\n%s", roff(f.path), roff(f.what))
	}
	p(".SH SEE ALSO")
	p(".BR systemd\\-nspawn (1),\n.BR machinectl (1),\n.BR systemd.nspawn (5)")
}

func manualCommand(p func(string, ...any), c *cli.Command, path string) {
	if c.Hidden {
		return
	}
	if len(c.Subcommands) > 0 {
		for _, s := range c.Subcommands {
			manualCommand(p, s, path+" "+s.Name)
		}
		return
	}
	heading := path
	if c.ArgsUsage != "" {
		heading += " " + c.ArgsUsage
	}
	p(".SS %s", roff(heading))
	p("%s.", roff(capital(c.Usage)))
	if c.Description != "" {
		p(".PP\n%s", roff(strings.ReplaceAll(c.Description, "\n", " ")))
	}
	for _, f := range c.Flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok || isLogFlag(f) && c.Name != "create" {
			continue // said once is enough
		}
		manualFlag(p, f, d)
	}
}

func isLogFlag(f cli.Flag) bool {
	for _, l := range logFlags() {
		if l.Names()[0] == f.Names()[0] {
			return true
		}
	}
	return false
}

func manualFlag(p func(string, ...any), f cli.Flag, d cli.DocGenerationFlag) {
	var names []string
	for _, n := range f.Names() {
		names = append(names, `\fB`+roff(dashed(n))+`\fR`)
	}
	usage, what := d.GetUsage(), ""
	if m := placeholder.FindStringSubmatch(usage); m != nil {
		what = ` \fI` + roff(m[1]) + `\fR`
		usage = strings.ReplaceAll(usage, "`", "")
	}
	var more []string
	if v := d.GetValue(); v != "" && d.TakesValue() && v != "[]" {
		more = append(more, "default: "+v)
	}
	if e := d.GetEnvVars(); len(e) > 0 {
		more = append(more, "$"+e[0])
	}
	text := capital(usage)
	if len(more) > 0 {
		text += " (" + strings.Join(more, ", ") + ")"
	}
	p(".TP\n%s%s\n%s.", strings.Join(names, ", "), what, roff(text))
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// roff writes text so that nothing in it means anything to roff.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "~", `\(ti`, "^", `\(ha`, "`", `\(ga`, "'", `\(aq`, `"`, `\(dq`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
