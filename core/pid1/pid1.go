// Package pid1 is what the first process of a PID namespace owes the others.
package pid1

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reap waits for pid and, as the first process must, for all that lost its
// parent meanwhile. When it returns and the process ends, the kernel kills
// whatever is left in the namespace. Nobody else in the process may wait for
// children.
func Reap(pid int) (syscall.WaitStatus, error) {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("waiting for it: %w", err)
		case got == pid && (ws.Exited() || ws.Signaled()):
			return ws, nil
		}
	}
}
