// Package cgroup gives a machine control groups of its own on a host where no
// service manager does, bounds them, and removes them again.
//
// It works below one directory per machine and hierarchy, which it made
// itself. Of what belongs to the host it writes one file only, the
// cgroup.subtree_control above that directory, to turn controllers on; it
// never turns one off and never moves a process that it was not given.
package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Host is where this host's cgroup hierarchies are mounted.
type Host struct {
	Unified string // cgroup v2; empty where it is not mounted
	Named   string // the v1 hierarchy name=systemd; empty where it is not mounted
	Hybrid  bool   // v1 controllers are in use, so that v2 has few or none
}

// Find reads the mounts of the calling process.
func Find() (Host, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Host{}, fmt.Errorf("finding the cgroup mounts: %w", err)
	}
	return parse(text)
}

func parse(text []byte) (Host, error) {
	mounts, err := mountinfo.GetMountsFromReader(bytes.NewReader(text),
		mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return Host{}, fmt.Errorf("finding the cgroup mounts: %w", err)
	}
	var h Host
	for _, m := range mounts {
		options := strings.Split(m.VFSOptions, ",")
		switch {
		case m.FSType == "cgroup2" && h.Unified == "":
			h.Unified = m.Mountpoint
		case m.FSType == "cgroup" && slices.Contains(options, "name=systemd"):
			h.Named = m.Mountpoint
		case m.FSType == "cgroup":
			h.Hybrid = true
		}
	}
	return h, nil
}

// Roots returns the hierarchies in which systemd puts a machine, the one that
// holds the limits first.
func (h Host) Roots() []string {
	var roots []string
	for _, root := range []string{h.Unified, h.Named} {
		if root != "" {
			roots = append(roots, root)
		}
	}
	return roots
}

// Controllers returns those that the unified hierarchy has, sorted.
func (h Host) Controllers() []string {
	if h.Unified == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(h.Unified, "cgroup.controllers"))
	if err != nil {
		return nil // what cannot be read cannot be used
	}
	names := strings.Fields(string(text))
	slices.Sort(names)
	return names
}
