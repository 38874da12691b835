package customize

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Error is a program that failed in a tree.
type Error struct {
	What string   // the script or the command
	Log  string   // where its output is
	Tail []string // the end of it
	Err  error
}

func (e *Error) Error() string { return sdk.Clean(e.What, 200) + ": " + e.Err.Error() }

// Unwrap is why it failed.
func (e *Error) Unwrap() error { return e.Err }

// Hint says where to look.
func (e *Error) Hint() string { return "all of its output is in " + e.Log }

const (
	tailLines = 20
	logLimit  = 64 << 20 // of one program; what is beyond it is read and dropped
)

// OpenLog begins a log anew. Only root reads it.
func OpenLog(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

// logged runs a program with its output in the log and told line by line.
func (r *Room) logged(ctx context.Context, what, script string, argv []string) (err error) {
	log, err := os.OpenFile(r.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "==> %s\n", sdk.Clean(what, sdk.MaxText))
	tail, copied := []string{}, make(chan error, 1)
	go func() { copied <- r.follow(read, log, &tail) }()
	start := time.Now()
	failed := r.run(ctx, script, argv, write)
	// What runs no more holds no end of it.
	if err := errors.Join(write.Close(), <-copied, read.Close()); err != nil {
		failed = errors.Join(failed, err)
	}
	if failed == nil {
		fmt.Fprintf(log, "==> done after %.1f s\n", time.Since(start).Seconds())
		return nil
	}
	var exit *exec.ExitError
	if errors.As(failed, &exit) && exit.Exited() && ctx.Err() == nil {
		failed = fmt.Errorf("it ended with status %d", exit.ExitCode())
	}
	fmt.Fprintf(log, "==> failed: %v\n", failed)
	return &Error{What: what, Log: r.Log, Tail: tail, Err: failed}
}

// follow copies output into the log until its end.
func (r *Room) follow(from io.Reader, log io.Writer, tail *[]string) error {
	lines := bufio.NewReaderSize(from, 4096)
	for written := 0; ; {
		text, _, err := lines.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line := sdk.Clean(string(text), sdk.MaxText)
		if written += len(line) + 1; written < logLimit {
			if _, err := io.WriteString(log, line+"\n"); err != nil {
				return err
			}
		}
		if line == "" {
			continue
		}
		if *tail = append(*tail, line); len(*tail) > tailLines {
			*tail = (*tail)[1:]
		}
		if r.Line != nil {
			r.Line(line)
		}
	}
}
