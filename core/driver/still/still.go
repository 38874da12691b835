// Package still holds a running machine still for a moment, so that its tree
// can be copied as it is at one moment.
//
// It freezes the machine's cgroup and nothing else, and never one that this
// program is in. What is frozen is thawed by a process of its own, which does so
// as soon as whoever asked for it is gone, however it went: a machine must not
// stay frozen because a copy of it was killed.
package still

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/inherit"
)

// Verb is the hidden verb under which this program holds a machine still.
const Verb = "hold-still"

// ErrCannot is returned where the kernel cannot hold a machine still.
var ErrCannot = errors.New("this host cannot hold a running machine still")

// self is the command that holds; the leader's number is appended.
var self = []string{"/proc/self/exe", Verb}

// frozen is what the keeper says when nothing in the machine runs any more.
const frozen = "frozen"

// Hold returns when nothing in the machine with that leader runs, and nothing
// will until release is called or this process ends.
func Hold(ctx context.Context, leader int) (release func() error, err error) {
	if err := inherit.Nothing(); err != nil {
		return nil, err
	}
	keeper := exec.Command(self[0], append(self[1:], strconv.Itoa(leader))...) //nolint:noctx // it ends by the end of its input
	keeper.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	keeper.Dir = "/"
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a signal for us is none for it
	var complaint strings.Builder
	keeper.Stderr = &complaint
	input, err := keeper.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := keeper.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, input.Close())
	}
	if err := keeper.Start(); err != nil {
		return nil, fmt.Errorf("holding the machine still: %w", err)
	}
	said := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(output).ReadString('\n') // what it said before it ended
		said <- strings.TrimSpace(line)
	}()
	release = func() error {
		_ = input.Close() // what it does then says whether it was taken
		if err := keeper.Wait(); err != nil {
			return fmt.Errorf("letting the machine go on: %w: %s", err, strings.TrimSpace(complaint.String()))
		}
		return nil
	}
	select {
	case word := <-said:
		if word == frozen {
			return release, nil
		}
		_ = release() // it has failed, and said why
		return nil, fmt.Errorf("%w: %s", ErrCannot, reason(complaint.String()))
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), release())
	}
}

// reason is the first line that a keeper complained of.
func reason(complaint string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(complaint), "\n")
	if line == "" {
		return "it ended without a word"
	}
	return line
}

// Keep is what the keeper does: it freezes the machine with that leader, says
// so to out, and thaws it when in ends. Signals that would end it do not.
func Keep(ctx context.Context, leader int, in io.Reader, out io.Writer) (err error) {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	dir, err := groupOf(leader)
	if err != nil {
		return err
	}
	thaw, err := freeze(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreGone(thaw())) }()
	if _, err := fmt.Fprintln(out, frozen); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}
