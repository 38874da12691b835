package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/pid1"
)

// initArgument is the argument of the first process of a room.
const initArgument = "verify-room"

// workArgument is that of the process which it starts.
const workArgument = "verify-room-work"

// Init is to be called first thing in main. When the program was started to be
// the first process of a room, it is that until all is said, and did is true:
// main then exits with status, and everything in the room ends.
func Init(args []string) (status int, did bool) {
	switch {
	case len(args) != 2 || args[1] != initArgument && args[1] != workArgument:
		return 0, false
	case args[1] == workArgument && os.Getppid() == 1:
		return work(), true
	case args[1] == initArgument && os.Getpid() == 1:
		return first(), true
	}
	fmt.Fprintf(os.Stderr, "%s is not for use by hand\n", args[1])
	return 2, true
}

// first is the first process: it starts the one that does the work, and reaps. A
// command in the machine that was killed is its orphan, and as long as it is not
// reaped the machine's own first process cannot end.
func first() int {
	expendable(roomBadness)
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"nspawn-build", workArgument}, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{0, 1, 2, fdOrder, fdWords},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the work:", err)
		return 1
	}
	status, err := pid1.Reap(pid)
	if err != nil || status.ExitStatus() != 0 {
		return 1 // what it said tells more
	}
	return 0
}

// work does what the order says.
func work() int {
	unix.CloseOnExec(fdOrder)
	unix.CloseOnExec(fdWords)
	words := json.NewEncoder(os.NewFile(fdWords, "words"))
	say := func(w word) { _ = words.Encode(w) } // with the host gone, nobody is left to hear
	r, err := serve(os.NewFile(fdOrder, "order"), say)
	if err != nil {
		var fault *Error
		if !errors.As(err, &fault) {
			fault = &Error{Problem: err.Error()}
		}
		say(word{Fault: fault})
		return 1
	}
	say(word{Report: &r})
	return 0
}

func serve(orders *os.File, say func(word)) (Report, error) {
	var o order
	if err := json.NewDecoder(orders).Decode(&o); err != nil {
		return Report{}, fmt.Errorf("reading the order: %w", err)
	}
	go func() {
		// The host never writes more. When it ends, however it ends, all ends:
		// the parent-death signal alone would miss a host that died before it
		// was set.
		_, _ = io.Copy(io.Discard, orders)
		os.Exit(1)
	}()
	ctx, cancel := context.WithTimeoutCause(context.Background(), o.Target.Timeout, errLate)
	defer cancel()
	ids, err := enclose(o.Target)
	if err != nil {
		return Report{}, err
	}
	return examine(ctx, o, ids, func(c Check) { say(word{Check: &c}) })
}
