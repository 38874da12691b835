package pluginhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"google.golang.org/grpc"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// OnTrial is the program at path as a plugin that is being worked on, under the
// name that its file gives it.
func OnTrial(path string, owner uint32) (DevPlugin, error) {
	name, ok := NameOf(filepath.Base(path))
	if !ok {
		return DevPlugin{}, &RefusedError{
			Path: path, Reason: "its name is not that of a plugin",
			Hint: "call it " + sdk.BinaryPrefix + "NAME, where NAME is " + sdk.PluginNames,
		}
	}
	return DevPlugin{Name: name, Path: path, Owner: owner}, nil
}

// DevListing is the one plugin that is being worked on. An error says what keeps
// its file from being run.
func (h *Host) DevListing() (Listing, error) {
	l := h.devListings()[0]
	return l, l.Err
}

// StartWired is Start with all that passes between the two going through wire.
func (h *Host) StartWired(ctx context.Context, l Listing, grants Grants, wire func(grpc.ClientConnInterface) grpc.ClientConnInterface) (*Session, error) {
	return h.start(ctx, l, grants, wire)
}

// What follows says how a plugin that runs stands.

// pid is the number of the first process of its namespaces.
func (s *Session) pid() int {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	if s.process.running == nil {
		return 0
	}
	return s.process.running.Process.Pid
}

// Processes are the plugin and everything that it has started and that has not
// ended, by the numbers that they have on this host: their command lines.
func (s *Session) Processes() (map[int]string, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // digits, as the pattern has it
		if parent, alive := parentOf(path); alive {
			parents[pid] = parent
		}
	}
	first := s.pid()
	all := map[int]string{}
	for pid := range parents {
		above := parents[pid]
		for above > 1 && above != first {
			above = parents[above]
		}
		if above != first {
			continue
		}
		// One that has ended meanwhile has none.
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); len(line) > 0 {
			all[pid] = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return all, nil
}

// parentOf reads a process's stat, of which the name may hold anything.
func parentOf(path string) (parent int, alive bool) {
	text, err := os.ReadFile(path) //nolint:gosec // in /proc
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 || fields[0] == "Z" {
		return 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, err == nil
}

// Mounts are those that the plugin sees, with "ro" or "rw" for each. One that
// lies on another has a number.
func (s *Session) Mounts() (map[string]string, error) {
	table, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", s.pid()))
	if err != nil {
		return nil, fmt.Errorf("the plugin's mounts: %w", err)
	}
	defer table.Close() //nolint:errcheck // only read from
	mounts, err := mountinfo.GetMountsFromReader(table, nil)
	if err != nil {
		return nil, fmt.Errorf("the plugin's mounts: %w", err)
	}
	all := map[string]string{}
	for _, m := range mounts {
		at := m.Mountpoint
		for n := 2; all[at] != ""; n++ {
			at = fmt.Sprintf("%s (%d)", m.Mountpoint, n)
		}
		all[at], _, _ = strings.Cut(m.Options, ",")
	}
	return all, nil
}

// Printed is how many bytes the plugin has printed, as far as they are read.
func (s *Session) Printed() int64 { return s.process.output.printed.Load() }
