package testhost

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// WriteFile writes a file on the host, by a process of the host, so that a
// symbolic link on the way leads where it does there.
func (h *Host) WriteFile(t testing.TB, name, text string, mode string) {
	t.Helper()
	r := h.RunInput(t, text, "install", "-D", "-m", mode, "/dev/stdin", name)
	if r.Exit != 0 {
		t.Fatalf("write %s: %s", name, r)
	}
}

// ReadFile reads a file of the host; one that is not there ends the test.
func (h *Host) ReadFile(t testing.TB, name string) string {
	t.Helper()
	return h.MustRun(t, "cat", name)
}

// Exists tells whether there is anything of that name on the host.
func (h *Host) Exists(t testing.TB, name string) bool {
	t.Helper()
	return h.Run(t, "stat", name).Exit == 0
}

// CopyIn copies a file of this machine to a host; parents are made.
func (h *Host) CopyIn(t testing.TB, from, to string) {
	t.Helper()
	file, err := os.Open(from)
	if err != nil {
		t.Fatalf("copy to the host: %v", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		t.Fatalf("copy to the host: %v", err)
	}
	r := h.RunCommand(t, Command{
		Args: []string{"install", "-D", "-m", fmt.Sprintf("%04o", info.Mode().Perm()), "/dev/stdin", to}, stdin: file,
	})
	if r.Exit != 0 {
		t.Fatalf("copy %s to the host: %s", from, r)
	}
}

// MachineLeader is the PID, as the host numbers it, of the PID 1 of a machine
// that runs on the host: of the child of the systemd-nspawn that was given its
// name. It is found without machined, of which a host may have none.
func (h *Host) MachineLeader(t testing.TB, machine string) string {
	t.Helper()
	return strings.TrimSpace(h.Eventually(t, 10*time.Second, "sh", "-c", `
		for nspawn in $(pgrep -x systemd-nspawn); do
			tr '\0' '\n' </proc/$nspawn/cmdline | grep -qxE -e "(--machine=)?$1|-M$1" && pgrep -P $nspawn && exit 0
		done
		exit 1`, "sh", machine))
}
