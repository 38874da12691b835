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
	heed(c, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	return c, func() { signal.Stop(c) }
}

// heed has c told of signals, but for those that whoever started this program
// had it ignore, as nohup(1) does, and a shell for what runs in the background.
// Those are ignored by us and not by what we start: for a command in a machine
// ^C means what it always does.
func heed(c chan<- os.Signal, all ...os.Signal) {
	for _, s := range all {
		if ignoredAtStart[s] {
			signal.Notify(dropped, s)
		} else {
			signal.Notify(c, s)
		}
	}
}

// dropped is read by nobody. What is ignored would be so in our children, too.
var dropped = make(chan os.Signal, 1)

// ignoredAtStart is looked at before anything takes a signal over.
var ignoredAtStart = map[os.Signal]bool{
	unix.SIGINT: signal.Ignored(unix.SIGINT), unix.SIGHUP: signal.Ignored(unix.SIGHUP), unix.SIGQUIT: signal.Ignored(unix.SIGQUIT),
}
