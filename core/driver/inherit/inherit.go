// Package inherit keeps the programs that this one starts from inheriting file
// descriptors that its own parent happened to leave open: a shell's, an
// editor's, a CI runner's.
package inherit

import (
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Nothing marks every descriptor but the three standard ones to be closed on
// exec. Those that Go opened are already, and those that a command is given on
// purpose still reach it.
func Nothing() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	entries, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return fmt.Errorf("listing the open files: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
