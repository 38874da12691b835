package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/store"
)

func (a *app) sshCommand() *cli.Command {
	return &cli.Command{
		Name:      "ssh",
		Usage:     "log in to a running machine, or run a command there, over SSH",
		ArgsUsage: "NAME [COMMAND [ARG...]]",
		Description: "The machine's host key is checked against the one that was made for it, and your own\nkeys are offered. What follows NAME is the command, also where it begins with a dash.\n" +
			"The exit status is ssh's.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "identity", Aliases: []string{"i"}, Usage: "offer the private key in `FILE`"},
		},
		Action: func(ctx *cli.Context) error {
			v, err := a.running(ctx)
			if err != nil {
				return err
			}
			if v.Machine.Spec.Network.Private {
				return noLink(v.Machine)
			}
			ssh, err := exec.LookPath("ssh")
			if err != nil {
				return &machines.HostError{Problem: "there is no ssh on this host", Hint: "install the OpenSSH client"}
			}
			// Without its link the address would be looked for behind the
			// default route, in somebody else's network.
			if err := host.LinkHas(v.Machine.Interface, v.Machine.HostSide); err != nil {
				return &machines.HostError{
					Problem: fmt.Sprintf("the link of %s is not up: %v", v.Machine.Name, err),
					Hint:    "start the machine again: nspawn-build stop " + v.Machine.Name + " && nspawn-build start " + v.Machine.Name,
				}
			}
			argv := sshArgs(v.Machine, ctx.String("identity"))
			if command := ctx.Args().Slice()[1:]; len(command) > 0 {
				// ssh takes options after the host too, were it not for this.
				argv = append(append(argv, "--"), command...)
			}
			a.progress.close()
			return unix.Exec(ssh, argv, os.Environ()) //nolint:gosec // that is what the command is for
		},
	}
}

// sshArgs are the words of an ssh that trusts no key but the machine's own.
func sshArgs(m store.Machine, identity string) []string {
	argv := []string{
		"ssh",
		"-o", "UserKnownHostsFile=" + machines.KnownHosts,
		"-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "StrictHostKeyChecking=yes",
		"-o", "HostKeyAlias=" + m.Name + ".nspawn",
		"-o", "LogLevel=ERROR",
	}
	keys := privateKeys()
	if identity != "" {
		keys = []string{identity}
		argv = append(argv, "-o", "IdentitiesOnly=yes")
	}
	for _, k := range keys {
		argv = append(argv, "-i", k)
	}
	return append(argv, "root@"+m.Address.Addr().String())
}
