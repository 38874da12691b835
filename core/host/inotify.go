package host

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// inotifyInstances is how many inotify instances one user may have: the kernel
// gives 128. What is made in a user namespace counts for the user who made the
// namespace, and so all that machines have counts for root; see
// inotify(7) and user_namespaces(7).
const inotifyInstances = "/proc/sys/fs/inotify/max_user_instances"

// inotifyOfMachine is about what a machine has whose systemd, journald, logind,
// networkd and resolved run.
const inotifyOfMachine = 10

// InotifyHint is what raises the limit.
const InotifyHint = "raise what the kernel allows: sysctl -w fs.inotify.max_user_instances=1024; in a file in /etc/sysctl.d it stays so"

// InotifyShort says that so many machines may take more inotify instances than
// root has; empty when they do not, or when that cannot be known.
func InotifyShort(machines int) string {
	data, err := os.ReadFile(inotifyInstances)
	if err != nil {
		return ""
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return ""
	}
	return inotifyShort(machines, limit)
}

func inotifyShort(machines, limit int) string {
	if machines*inotifyOfMachine <= limit {
		return ""
	}
	return fmt.Sprintf("%d machines take about %d inotify instances and the kernel allows root %d: some may not boot", machines, machines*inotifyOfMachine, limit)
}
