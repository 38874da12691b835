// Package host says what this host is and can do, and speaks to the services
// that run on it: the service manager, networkd and resolved, each behind a
// function or a small type. It decides nothing about machines.
package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Host is what was found out about this host.
type Host struct {
	Systemd        bool   // systemd is PID 1
	SystemdVersion int    // of systemd-nspawn; 0 when it is not installed
	Nspawn         string // path of systemd-nspawn; empty when it is not installed
	Family         string // "debian", "arch", "fedora"; empty when none of these
}

// Detect looks at this host.
func Detect() (Host, error) {
	h := Host{Family: sdk.ThisHost().Family()}
	// The test that systemd itself documents, sd_booted(3).
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		h.Systemd = true
	}
	path, err := exec.LookPath("systemd-nspawn")
	if errors.Is(err, exec.ErrNotFound) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	h.Nspawn = path
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return h, fmt.Errorf("%s --version: %w", path, err)
	}
	h.SystemdVersion, err = parseVersion(string(out))
	return h, err
}

// parseVersion reads the first line of any systemd tool's --version:
// "systemd 257 (257.9-1~deb13u1)".
func parseVersion(s string) (int, error) {
	line, _, _ := strings.Cut(s, "\n")
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "systemd" {
		return 0, fmt.Errorf("not a version of systemd: %q", line)
	}
	number, _, _ := strings.Cut(fields[1], ".")
	number, _, _ = strings.Cut(number, "~")
	v, err := strconv.Atoi(number)
	if err != nil {
		return 0, fmt.Errorf("not a version of systemd: %q", line)
	}
	return v, nil
}
