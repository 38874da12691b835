package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

var update = flag.Bool("update", false, "write what is generated into docs/")

const commandsPath = "../../docs/commands.md"

// commandsPage is docs/commands.md: the same table as --help, on one page.
func commandsPage(app *cli.App) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Every command, flag and variable\n")
	p("This page is made from the program: `go test ./cmd/nspawn-build -update`. `nspawn-build COMMAND --help` and")
	p("`nspawn-build man` say the same. What the flags are for is in the [reference](reference.md).\n")
	p("A flag wins over its variable, and that over `/etc/nspawn-build/config.yaml`, whose keys are the names of the")
	p("flags of `create` that have a variable. Two settings have a key and a variable and no flag: `%s` (`%s`),", poolKey, env(poolKey)[0])
	p("the subnets that machines are given, and `%s` (`%s`), how much the cache keeps.", maxSizeKey, env(maxSizeKey)[0])
	p("\n## With every command")
	commandFlags(p, logFlags())
	for _, c := range app.Commands {
		commandSection(p, c)
	}
	return b.String()
}

func commandSection(p func(string, ...any), c *cli.Command) {
	if c.Hidden {
		return
	}
	for _, s := range c.Subcommands {
		own := *s
		own.Name = c.Name + " " + s.Name
		commandSection(p, &own)
	}
	if len(c.Subcommands) > 0 {
		return
	}
	p("\n## %s\n", c.Name)
	p("    %s\n", strings.TrimSpace("nspawn-build "+c.Name+" [flags] "+c.ArgsUsage))
	p("%s.", capital(c.Usage))
	if c.Description != "" {
		p("\n%s", c.Description)
	}
	var flags []cli.Flag
	for _, f := range c.Flags {
		if !isLogFlag(f) {
			flags = append(flags, f)
		}
	}
	commandFlags(p, flags)
}

// commandFlags writes a table of flags for each heading of --help.
func commandFlags(p func(string, ...any), flags []cli.Flag) {
	var headings []string
	under := map[string][]cli.DocGenerationFlag{}
	for _, f := range flags {
		heading := ""
		if c, ok := f.(cli.CategorizableFlag); ok {
			heading = c.GetCategory()
		}
		if !slices.Contains(headings, heading) {
			headings = append(headings, heading)
		}
		if d, ok := f.(cli.DocGenerationFlag); ok {
			under[heading] = append(under[heading], d)
		}
	}
	for _, heading := range headings {
		if heading != "" {
			p("\n%s", heading)
		}
		p("\n| flag | does | default | variable |\n|---|---|---|---|")
		for _, d := range under[heading] {
			p("%s", flagRow(d))
		}
	}
}

func flagRow(d cli.DocGenerationFlag) string {
	placeholder, usage := unquote(d.GetUsage())
	var typed []string
	for _, n := range d.Names() {
		if typed = append(typed, dashed(n)); d.TakesValue() {
			typed[len(typed)-1] += " " + placeholder
		}
	}
	byDefault := ""
	if v := d.GetValue(); d.TakesValue() && v != "" && v != "[]" && v != "0" {
		byDefault = "`" + v + "`"
	}
	variable := ""
	if e := d.GetEnvVars(); len(e) > 0 {
		variable = "`" + e[0] + "`"
	}
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	return fmt.Sprintf("| `%s` | %s | %s | %s |", cell(strings.Join(typed, "`, `")), cell(usage), byDefault, variable)
}

func TestThePageOfCommandsIsThatOfTheProgram(t *testing.T) {
	want := commandsPage(newApp(streams{}).cli)
	if *update {
		if err := os.WriteFile(commandsPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(commandsPath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("go test ./cmd/nspawn-build -update writes it (-want +got):\n%s", diff)
	}
}

func TestEveryFlagAndVariableIsOnThePageOfItsCommand(t *testing.T) {
	app := newApp(streams{}).cli
	page := commandsPage(app)
	var look func(path string, c *cli.Command)
	look = func(path string, c *cli.Command) {
		for _, s := range c.Subcommands {
			look(path+" "+s.Name, s)
		}
		if c.Hidden || len(c.Subcommands) > 0 {
			return
		}
		_, section, _ := strings.Cut(page, "\n## "+path+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		for _, f := range c.Flags {
			if !isLogFlag(f) && !strings.Contains(section, "| `--"+f.Names()[0]) {
				t.Errorf("--%s of %s is not there", f.Names()[0], path)
			}
			d, ok := f.(cli.DocGenerationFlag)
			if !ok {
				t.Errorf("--%s of %s does not explain itself", f.Names()[0], path)
				continue
			}
			for _, v := range d.GetEnvVars() {
				if !strings.Contains(page, "`"+v+"`") {
					t.Errorf("%s is not there", v)
				}
			}
		}
	}
	for _, c := range app.Commands {
		look(c.Name, c)
	}
}
