package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/quarters"
)

// sessions are what a plugin host takes quarters for: its sockets.
var sessions = quarters.Kind{Prefix: "plugin-"}

// longest is the longest path that a socket in the quarters may come to have
// after the runtime directory, and maxSocket what the kernel takes.
const (
	longest   = len("/plugin-1234567890/plugin-dir1234567890/plugin1234567890")
	maxSocket = 107
)

// takeQuarters makes a directory and removes those that nobody lives in.
func takeQuarters(runtime string) (*quarters.Quarters, error) {
	if !filepath.IsAbs(runtime) || len(runtime)+longest > maxSocket {
		return nil, fmt.Errorf("runtime directory %q is not an absolute path of at most %d characters", runtime, maxSocket-longest)
	}
	return sessions.Take(runtime)
}

// Sweep removes what sessions of killed processes left in the runtime
// directory, and the directory itself when nothing else is in it. What cannot
// be removed stays for the next sweep.
func (h *Host) Sweep() {
	sessions.Sweep(h.RuntimeDir)
	_ = os.Remove(h.RuntimeDir)
}
