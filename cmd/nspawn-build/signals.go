package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// takeSignals takes over the signals that would interrupt this program: they are
// for a command in a machine. SIGQUIT is one of them, for it would end us and
// leave the command.
func takeSignals() (taken <-chan os.Signal, giveBack func()) {
	c := make(chan os.Signal, 8)
	signal.Reset(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	signal.Notify(c, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	return c, func() { signal.Stop(c) }
}
