package testhost

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// Snapshot is all of a host that a machine may leave traces in: each thing by
// its kind and name, with what can be said of it.
type Snapshot map[string]string

// Snapshot looks at the files below /etc, /var/lib and /run, at the links,
// addresses and routes, the nft rules, the mounts and the processes. What the
// host itself changes at any time is left out: ignoredFiles and its like say
// what and why.
func (h *Host) Snapshot(t testing.TB) Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := Snapshot{}
	for _, look := range []func(context.Context, Snapshot) error{
		h.files, h.network, h.rules, h.mounts, h.processes,
	} {
		if err := look(ctx, s); err != nil {
			t.Fatalf("take a snapshot of the host: %v", err)
		}
	}
	return s
}

// Diff says how two snapshots differ, line by line, and is empty when they
// do not.
func Diff(before, after Snapshot) string {
	var b strings.Builder
	keys := slices.Sorted(maps.Keys(before))
	for key := range after {
		if _, old := before[key]; !old {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		was, old := before[key]
		is, now := after[key]
		switch {
		case !now:
			fmt.Fprintf(&b, "- %s: %s\n", key, was)
		case !old:
			fmt.Fprintf(&b, "+ %s: %s\n", key, is)
		case was != is:
			fmt.Fprintf(&b, "~ %s: %s\n  became %s\n", key, was, is)
		}
	}
	return b.String()
}

// Calm is a snapshot of a host on which nothing changes any more: that of a
// login, say, ends a moment after the command that it was for.
func (h *Host) Calm(t testing.TB, except ...string) Snapshot {
	t.Helper()
	before := h.Snapshot(t)
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); {
		time.Sleep(300 * time.Millisecond)
		now := h.Snapshot(t)
		for _, key := range except {
			before[key] = now[key]
		}
		if Diff(before, now) == "" {
			break
		}
		before = now
	}
	return before
}

// Settled takes snapshots until one equals before, but for the things named,
// and returns the difference of the last when the deadline passes first:
// systemd removes what is its own a moment after the cause has gone.
func (h *Host) Settled(t testing.TB, before Snapshot, deadline time.Duration, except ...string) string {
	t.Helper()
	end := time.Now().Add(deadline)
	for {
		after := h.Snapshot(t)
		for _, key := range except {
			delete(after, key)
			if was, known := before[key]; known {
				after[key] = was
			}
		}
		diff := Diff(before, after)
		if diff == "" || time.Now().After(end) {
			return diff
		}
		time.Sleep(200 * time.Millisecond)
	}
}
