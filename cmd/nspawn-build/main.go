// Command nspawn-build makes systemd-nspawn machines. This package wires the
// command line to core/machines; one file for each command.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/transfer"
	"github.com/nspawn-build/nspawn-build/core/verify"
)

// version is set by the build.
var version = "devel"

func main() {
	for _, init := range []func([]string) (int, bool){pluginhost.Init, transfer.Init, verify.Init} {
		if code, did := init(os.Args); did {
			os.Exit(code)
		}
	}
	ctx, stop := interruptible(context.Background(), os.Stderr)
	code := run(ctx, os.Args, streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// streams are where a command reads and prints.
type streams struct {
	in  io.Reader
	out io.Writer // results
	err io.Writer // everything else
}

// terminal reports whether a stream is a terminal, and its descriptor.
func terminal(stream any) (fd int, is bool) {
	f, ok := stream.(*os.File)
	if !ok {
		return -1, false
	}
	fd = int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// run is the whole program.
func run(ctx context.Context, args []string, s streams) int {
	a := newApp(s)
	if len(args) > 1 && args[1] == suggestVerb {
		printSuggestions(s.out, suggest(a.cli, args[2:], thereNow))
		return exitDone
	}
	var err error
	if a.line, err = arrange(args, a.cli); err == nil {
		err = a.cli.RunContext(ctx, a.line)
	}
	if err == nil {
		return exitDone
	}
	a.progress.close()
	return a.report(ctx, err)
}

// interruptible returns a context that the first SIGINT, SIGTERM or SIGHUP
// ends in an orderly way. The second ends the program at once: whatever runs
// for it dies with it, and what it made stays on record.
func interruptible(parent context.Context, stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	heed(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		cancel(errInterrupted)
		fmt.Fprintln(stderr, "interrupted: cleaning up; once more to stop at once")
		if _, ok := <-signals; ok {
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
	}
}
