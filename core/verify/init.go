package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// initArgument is the argument of the first process of a room.
const initArgument = "verify-room"

// Init is to be called first thing in main. When the program was started to be
// the first process of a room, it is that until all is said, and did is true:
// main then exits with status, and everything in the room ends.
func Init(args []string) (status int, did bool) {
	if len(args) != 2 || args[1] != initArgument {
		return 0, false
	}
	if os.Getpid() != 1 {
		fmt.Fprintf(os.Stderr, "%s is not for use by hand\n", initArgument)
		return 2, true
	}
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
		return 1, true
	}
	say(word{Report: &r})
	return 0, true
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
