package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/hostlink"
)

// hostlinkCommand is what systemd runs beside a machine whose link needs it.
func (a *app) hostlinkCommand() *cli.Command {
	return &cli.Command{
		Name:      hostlink.Verb,
		Usage:     "keep what this host does for the network of a machine; started by systemd",
		ArgsUsage: "NAME",
		Hidden:    true,
		Action: func(ctx *cli.Context) error {
			name, err := one(ctx)
			if err != nil {
				return err
			}
			return a.keepLink(ctx.Context, name)
		},
	}
}

func (a *app) keepLink(ctx context.Context, name string) error {
	house, err := a.house()
	if err != nil {
		return err
	}
	// To be ended is the way of things here, and no interruption.
	signals := []os.Signal{unix.SIGTERM, unix.SIGINT}
	signal.Reset(signals...)
	life, stop := signal.NotifyContext(context.WithoutCancel(ctx), signals...)
	defer stop()
	warn := func(message string) { a.log.Warn(message) }
	return house.KeepLink(life, name, warn, func() error {
		_, err := daemon.SdNotify(false, daemon.SdNotifyReady)
		return err
	})
}
