package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// shown is the result of show: all that is known of a machine.
type shown struct {
	status
	// NeedsRestart are the fields, by their keys in a spec file, that were
	// changed and take a restart to have.
	NeedsRestart []string      `json:"needsRestart,omitempty"`
	Record       store.Machine `json:"record"`
}

func (a *app) showCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show all that is known of a machine, or its spec file",
		ArgsUsage: "NAME",
		Description: "--output yaml prints a spec file of the machine: create --file with it changes nothing,\n" +
			"and makes the same machine where there is none. A password is not in it.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text", Usage: "`FORM` of the result: text, json or yaml", EnvVars: env("output")},
		},
		Action: a.onMachine(a.show),
	}
}

func (a *app) show(ctx *cli.Context, house *machines.House, name string) error {
	v, err := house.Get(ctx.Context, name)
	if err != nil {
		return err
	}
	if ctx.String("output") == "yaml" {
		a.progress.close()
		_, err := a.out.Write(spec.FormatFile(v.Machine.Spec))
		return err
	}
	res := shown{
		status: status{listed: describe(v), SSH: sshLine(nil, v.Machine)}, NeedsRestart: machines.WaitsFor(v), Record: v.Machine,
	}
	if v.Status.State == driver.Running {
		res.System, res.Failed = askSystem(ctx.Context, v)
	}
	return a.result(ctx, res, func() { a.printShown(res) })
}

func (a *app) printShown(res shown) {
	a.printStatus(res.status)
	m := res.Record
	row := func(label, value string) {
		if value != "" {
			a.printf("  %-10s %s\n", label, harmlessLine(value))
		}
	}
	row("restart", strings.Join(res.NeedsRestart, ", "))
	if m.HostSide.IsValid() {
		row("host side", m.HostSide.String())
	}
	var servers []string
	for _, s := range m.DNS {
		servers = append(servers, s.String())
	}
	row("dns", strings.Join(servers, ", "))
	row("host key", fingerprint(m.HostKey))
	for _, k := range m.AuthorizedKeys {
		row("lets in", fingerprint(k))
	}
	row("made", m.Created.Local().Format(time.DateTime))
	if !m.Expires.IsZero() {
		row("expires", m.Expires.Local().Format(time.DateTime))
	}
	if m.Facts != nil {
		row("system", m.Facts.OSRelease["PRETTY_NAME"])
		row("packages", fmt.Sprintf("%d", len(m.Facts.Packages)))
	}
	a.printf("\n")
	for line := range strings.Lines(string(spec.FormatFile(m.Spec))) {
		a.printf("  %s", line)
	}
}

// fingerprint is how ssh names a key, with the key's comment.
func fingerprint(line string) string {
	key, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(key.Type() + " " + ssh.FingerprintSHA256(key) + " " + comment)
}
