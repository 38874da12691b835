package main

import (
	"os"
	"os/signal"
	"slices"

	"golang.org/x/sys/unix"
)

// takeSignals takes over the signals that would interrupt this program: they are
// for a command in a machine. SIGQUIT is one of them, for it would end us and
// leave the command.
func takeSignals() (taken <-chan os.Signal, giveBack func()) {
	c := make(chan os.Signal, 8)
	signal.Reset(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	signal.Notify(c, heeded(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)...)
	return c, func() { signal.Stop(c) }
}

// heeded are those of the signals that whoever started this program did not
// have it ignore, as nohup(1) does. There is always one.
func heeded(all ...os.Signal) []os.Signal {
	return slices.DeleteFunc(all, func(s os.Signal) bool { return s != unix.SIGTERM && ignoredAtStart[s] })
}

// ignoredAtStart is looked at before anything takes a signal over.
var ignoredAtStart = map[os.Signal]bool{
	unix.SIGINT: signal.Ignored(unix.SIGINT), unix.SIGHUP: signal.Ignored(unix.SIGHUP), unix.SIGQUIT: signal.Ignored(unix.SIGQUIT),
}
