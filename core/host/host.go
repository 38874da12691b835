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
	// Naming is the version of systemd that names links on this host, where its
	// kernel's command line says so (net.naming-scheme=); else 0.
	Naming int
	Family string // "debian", "arch", "fedora"; empty when none of these
}

// NamingScheme is the version of systemd whose way of naming links this host
// follows.
func (h Host) NamingScheme() int {
	if h.Naming > 0 && h.Naming < h.SystemdVersion {
		return h.Naming
	}
	return h.SystemdVersion
}

// Detect looks at this host.
func Detect() (Host, error) {
	h := Host{Family: sdk.ThisHost().Family()}
	if line, err := os.ReadFile("/proc/cmdline"); err == nil {
		h.Naming = parseNaming(string(line))
	}
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

// parseNaming reads net.naming-scheme=v238 and its like from a kernel's command
// line; the last counts. See systemd.net-naming-scheme(7).
func parseNaming(line string) int {
	scheme := 0
	for _, word := range strings.Fields(line) {
		if name, ok := strings.CutPrefix(word, "net.naming-scheme="); ok {
			scheme = 0 // "latest" is what systemd would do anyway
			if v, err := strconv.Atoi(strings.TrimPrefix(name, "v")); err == nil {
				scheme = v
			}
		}
	}
	return scheme
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
