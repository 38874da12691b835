package inside

import (
	"time"

	"golang.org/x/sys/unix"
)

// lookForStop is how often it is looked whether nsenter has stopped itself.
const lookForStop = 200 * time.Millisecond

// goOn has nsenter go on until done whenever it has stopped itself, as it does
// when the command inside is stopped. systemd stops whatever runs in a machine
// before it ends it; an nsenter that does not go on then does not take notice
// of the command's end, and the machine does not go down before it has.
func goOn(pid int, done <-chan struct{}) {
	again := time.NewTicker(lookForStop)
	defer again.Stop()
	for {
		select {
		case <-done:
			return
		case <-again.C:
		}
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG, nil); err == nil && info.Signo != 0 {
			_ = unix.Kill(pid, unix.SIGCONT) // it may have ended
		}
	}
}
