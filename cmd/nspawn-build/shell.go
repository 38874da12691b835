package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/machines"
)

func (a *app) shellCommand() *cli.Command {
	return &cli.Command{
		Name:      "shell",
		Usage:     "log in to a running machine without a network, or run a command in a login",
		ArgsUsage: "[USER@]NAME [COMMAND [ARG...]]",
		Description: "The login is root's unless a user is named, and asks for no password. Pressing ^] three\n" +
			"times within a second leaves it. The exit status is that of the shell or the command.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "uid", Usage: "log in as `USER`"},
			&cli.StringSliceFlag{Name: "setenv", Aliases: []string{"E"}, KeepSpace: true, Usage: "set `KEY=VALUE` in the login; may be repeated"},
		},
		Action: func(ctx *cli.Context) error {
			user, name, err := splitUser(ctx)
			if err != nil {
				return err
			}
			v, err := a.runningMachine(ctx, name)
			if err != nil {
				return err
			}
			env, err := settings(ctx.StringSlice("setenv"))
			if err != nil {
				return err
			}
			u, err := inside.LookUp(ctx.Context, v.Status.Leader, user)
			if err != nil {
				return err
			}
			if err := u.MayLogIn(ctx.Context, v.Status.Leader); err != nil {
				return err
			}
			argv := ctx.Args().Slice()[1:]
			if _, is := terminal(a.in); !is && len(argv) == 0 {
				return errNoTerminal
			}
			return a.atTerminal(ctx.Context, inside.Command{
				Leader: v.Status.Leader, Argv: u.Login(argv, env), Env: []string{termType()},
			}, true)
		},
	}
}

// splitUser reads [USER@]NAME and --uid, which must not name two.
func splitUser(ctx *cli.Context) (user, name string, err error) {
	const hint = "name the user once: nspawn-build shell USER@NAME, or --uid USER NAME"
	user = ctx.String("uid")
	before, after, at := strings.Cut(ctx.Args().First(), "@")
	switch {
	case !at:
		name = before
	case before == "":
		return "", "", &usageError{"no user is named before the @", hint}
	case user != "" && user != before:
		return "", "", &usageError{fmt.Sprintf("both --uid %s and %s@ say who logs in", user, before), hint}
	default:
		user, name = before, after
	}
	if user == "" {
		user = "root"
	}
	return user, name, nil
}

// settings checks KEY=VALUE pairs.
func settings(pairs []string) ([]string, error) {
	for _, pair := range pairs {
		key, _, ok := strings.Cut(pair, "=")
		if !ok || !variableForm.MatchString(key) || strings.ContainsRune(pair, 0) {
			return nil, &usageError{fmt.Sprintf("%q is not KEY=VALUE", pair), "write the name of a variable, = and its value"}
		}
	}
	return pairs, nil
}

// atTerminal runs a command with our terminal as its own, when we have one.
// escape says that ^] pressed three times ends it.
func (a *app) atTerminal(ctx context.Context, c inside.Command, escape bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	signals, giveBack := takeSignals()
	defer giveBack()
	k, err := a.takeKeyboard()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	c.Signals, c.Stdin, c.Stdout = signals, a.in, a.out
	if k.was != nil && escape {
		c.Stdin = &escapable{from: a.in, leave: func() { cancel(errLeft) }}
	}
	if k.was != nil {
		c.Terminal = k.terminal()
	} else {
		c.Stderr = a.err
	}
	code, err := c.Run(ctx)
	err = errors.Join(err, k.giveBack())
	if errors.Is(err, errLeft) {
		fmt.Fprintln(a.err)
		return nil
	}
	if err == nil && code != 0 {
		err = statusError(code)
	}
	return err
}

func (a *app) loginCommand() *cli.Command {
	return &cli.Command{
		Name:        "login",
		Usage:       "show the login prompt of a running machine, as at its console",
		ArgsUsage:   "NAME",
		Description: "Pressing ^] three times within a second leaves it.",
		Action: a.onMachine(func(ctx *cli.Context, _ *machines.House, name string) error {
			v, err := a.runningMachine(ctx, name)
			if err != nil {
				return err
			}
			if _, is := terminal(a.in); !is {
				return errNoTerminal
			}
			return a.console(ctx.Context, v.Status.Leader)
		}),
	}
}

// console has the machine's own service manager put a login prompt on a new
// terminal, which is ours until the login ends or ^] was pressed three times.
func (a *app) console(ctx context.Context, pid int) (err error) {
	machine, err := leader.Open(pid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	pty, err := inside.OpenPty(machine)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pty.Master.Close()) }()
	if err := pty.Give(machine); err != nil {
		return err
	}
	k, err := a.takeKeyboard()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.giveBack()) }()
	if err := pty.Resize(k.size()); err != nil {
		return err
	}
	go func() {
		for s := range k.resize {
			_ = pty.Resize(s) // it only looks worse
		}
	}()

	prompt := prompt{pid, fmt.Sprintf("container-getty@%d.service", pty.Number)}
	left := make(chan struct{})
	ended, end := context.WithCancel(ctx)
	defer end()
	if err := prompt.start(ctx); err != nil {
		return err
	}
	defer func() { _ = prompt.control(context.WithoutCancel(ctx), "stop") }() // it ends with its terminal at the latest
	var kept sync.WaitGroup
	kept.Go(func() { prompt.keep(ended) })
	defer kept.Wait()
	defer end()
	go func() { _ = machine.Wait(ended); end() }()
	fmt.Fprintf(a.err, "connected to the machine; ^] three times leaves it\r\n")
	go func() {
		<-ended.Done()
		close(left)
	}()
	pty.Copy(a.out, &escapable{from: a.in, leave: end}, left)
	fmt.Fprint(a.err, "\r\n")
	return nil
}
