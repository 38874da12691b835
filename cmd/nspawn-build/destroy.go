package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/store"
)

func (a *app) destroyCommand() *cli.Command {
	return &cli.Command{
		Name:      "destroy",
		Usage:     "stop a machine and remove everything that making it made",
		ArgsUsage: "NAME...",
		Description: "--all and --label ask before they destroy when they are used on a terminal, unless\n" +
			"--yes is given. Where there is nobody to ask, in a script or a pipe, they go ahead.",
		Flags: []cli.Flag{
			allFlag(),
			&cli.BoolFlag{Name: "expired", Usage: "those whose time (create --ttl) is over; one that somebody is at work on is left for later"},
			labelFlag(),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			outputFlag(),
		},
		Action: a.destroy,
	}
}

// destroyed is the result of destroy for one machine.
type destroyed struct {
	Name      string `json:"name"`
	Destroyed bool   `json:"destroyed"`
	Problem   string `json:"problem,omitempty"`
}

func (a *app) destroy(ctx *cli.Context) error {
	c, err := machineNames(ctx)
	if err != nil {
		return err
	}
	if ctx.Bool("expired") {
		c.choice.Expired = time.Now()
	}
	house, err := a.house()
	if err != nil {
		return err
	}
	named := len(c.names) > 0
	unread := c.find(house)
	if !named && !ctx.Bool("expired") && !ctx.Bool("yes") {
		if err := a.confirm(c.names); err != nil {
			return err
		}
	}
	gone, errs := c.each(ctx.Context, house, func(ctx context.Context, house *machines.House, name string) (bool, error) {
		if named {
			err := house.Destroy(ctx, name)
			return err == nil, err
		}
		return house.DestroyChosen(ctx, name, c.choice)
	})
	all := make([]destroyed, len(c.names))
	for i, name := range c.names {
		if errors.Is(errs[i], store.ErrLocked) && ctx.Bool("expired") {
			a.log.Warn(name + " is expired, and left for later: another nspawn-build is at work on it")
			errs[i] = nil
		}
		all[i] = destroyed{Name: name, Destroyed: gone[i]}
		if errs[i] != nil {
			all[i].Problem = oneLine(errs[i])
		}
	}
	if c.single && errs[0] != nil {
		return errs[0]
	}
	var result any = all
	if c.single {
		result = all[0]
	}
	err = a.result(ctx, result, func() {
		for _, d := range all {
			if d.Destroyed {
				a.printf("%s is destroyed\n", d.Name)
			}
		}
		if len(all) == 0 {
			a.printf("no machines\n")
		}
	})
	return several(append(errs, unread, err)...)
}

// confirm asks on a terminal whether the machines are to be destroyed.
func (a *app) confirm(names []string) error {
	if _, is := terminal(a.in); !is || len(names) == 0 {
		return nil
	}
	a.progress.close()
	count := "this machine"
	if len(names) > 1 {
		count = fmt.Sprintf("these %d machines", len(names))
	}
	fmt.Fprintf(a.err, "%s\nDestroy %s with everything in it? [y/N] ", strings.Join(names, "\n"), count)
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil {
		fmt.Fprintln(a.err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errCalledOff
	}
	return nil
}
