//go:build integration

package integration

import (
	"strconv"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// privileges are what the machine's first process has: whether it may gain any,
// and the capabilities that it can ever have.
func privileges(t *testing.T, h *testhost.Host, machine string) (noNew bool, bounding uint64) {
	t.Helper()
	r := want(t, exitDone, inMachine(t, h, machine, "grep -E '^(NoNewPrivs|CapBnd):' /proc/1/status"))
	of := map[string]string{}
	for line := range strings.Lines(r.Stdout) {
		name, value, _ := strings.Cut(line, ":")
		of[name] = strings.TrimSpace(value)
	}
	bounding, err := strconv.ParseUint(of["CapBnd"], 16, 64)
	if err != nil || of["NoNewPrivs"] == "" {
		t.Fatalf("its first process has %s", r)
	}
	return of["NoNewPrivs"] == "1", bounding
}

// TestWhatIsEditedOfLimitsAndHardeningHolds looks at what holds, rather than at
// the files that say so.
func TestWhatIsEditedOfLimitsAndHardeningHolds(t *testing.T) {
	t.Parallel()
	// As linux/capability.h numbers them.
	const mknod, netRaw uint64 = 1 << 27, 1 << 13
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			const plain = "version: 1\nname: box\ndistro: fixture\n"
			write := func(text string) { h.WriteFile(t, "/srv/box.yaml", plain+text, "0644") }
			write("limits: {memory-max: 1G, tasks-max: 700}\n")
			before := h.Snapshot(t)
			m := createFile(t, h, "-f", "/srv/box.yaml")
			properties(t, h, map[string]string{"MemoryMax": "1073741824", "TasksMax": "700"})
			boot := bootID(t, h, m.created)

			// At once, and no other than those that were edited.
			write("limits: {memory-max: 2G, tasks-max: 700}\n")
			if got := createFile(t, h, "-f", "/srv/box.yaml"); len(got.Applied) != 1 || len(got.NeedsRestart) != 0 {
				t.Errorf("it says %+v", got)
			}
			properties(t, h, map[string]string{"MemoryMax": "2147483648", "TasksMax": "700", "NeedDaemonReload": "no"})
			has(t, "its status", h.MustRun(t, "nspawn-build", "status", "box"), "MemoryMax=2G, TasksMax=700")
			if bootID(t, h, m.created) != boot {
				t.Error("it was booted again")
			}
			if noNew, bounding := privileges(t, h, "box"); noNew || bounding&mknod == 0 || bounding&netRaw == 0 {
				t.Fatalf("it is hardened already: %v, %x", noNew, bounding)
			}

			// After a restart, and not before.
			write("limits: {memory-max: 2G, tasks-max: 700}\nsecurity: {no-new-privileges: true, drop-capabilities: [mknod, net_raw]}\n")
			if got := createFile(t, h, "-f", "/srv/box.yaml"); len(got.NeedsRestart) != 2 || got.Restarted {
				t.Errorf("it says %+v", got)
			}
			if noNew, bounding := privileges(t, h, "box"); noNew || bounding&mknod == 0 {
				t.Errorf("it is hardened before it was restarted: %v, %x", noNew, bounding)
			}
			if got := createFile(t, h, "-f", "/srv/box.yaml", "--restart"); !got.Restarted || len(got.NeedsRestart) != 0 {
				t.Errorf("it says %+v", got)
			}
			if noNew, bounding := privileges(t, h, "box"); !noNew || bounding&(mknod|netRaw) != 0 {
				t.Errorf("it is not hardened: %v, %x", noNew, bounding)
			}
			properties(t, h, map[string]string{"MemoryMax": "2147483648", "TasksMax": "700"})
			checkMachine(t, h, m.created)

			// And taken back.
			write("limits: {tasks-max: 700}\n")
			createFile(t, h, "-f", "/srv/box.yaml", "--restart")
			if noNew, bounding := privileges(t, h, "box"); noNew || bounding&mknod == 0 || bounding&netRaw == 0 {
				t.Errorf("it is hardened still: %v, %x", noNew, bounding)
			}
			properties(t, h, map[string]string{"MemoryMax": "infinity", "TasksMax": "700"})
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}
