package testhost

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memoryEvery is how often PeakMemory looks: a peak between two looks is missed.
const memoryEvery = 100 * time.Millisecond

// PeakMemory looks at the memory of everything that runs on the host, machines
// included and its PID 1 left out, until stop is called, which returns the most
// that it saw, in bytes. It is the sum of the processes' proportional set sizes
// (Pss of /proc/PID/smaps_rollup): pages that several of them map count once,
// and the page cache does not count. No memory controller is needed for it.
func (h *Host) PeakMemory(t testing.TB) (stop func() int64) {
	t.Helper()
	found, err := hierarchies()
	if err != nil {
		t.Fatalf("look at the memory of the host: %v", err)
	}
	dir := filepath.Join(found[0].Mount, cgroupPrefix+h.name)
	end, peak := make(chan struct{}), make(chan int64)
	go func() {
		ticks := time.NewTicker(memoryEvery)
		defer ticks.Stop()
		var most int64
		for {
			most = max(most, memoryBelow(dir, h.leader))
			select {
			case <-ticks.C:
			case <-end:
				peak <- most
				return
			}
		}
	}()
	return func() int64 {
		close(end)
		return <-peak
	}
}

// memoryBelow is the memory of the processes in a cgroup and in those below it,
// without that of one. Those that end meanwhile are not counted.
func memoryBelow(cgroup string, without int) int64 {
	var sum int64
	_ = filepath.WalkDir(cgroup, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil //nolint:nilerr // a cgroup that went meanwhile has no processes
		}
		pids, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for pid := range strings.FieldsSeq(string(pids)) {
			if pid != strconv.Itoa(without) {
				sum += proportional(pid)
			}
		}
		return nil
	})
	return sum
}

// proportional is the proportional set size of a process, in bytes.
func proportional(pid string) int64 {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "smaps_rollup"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}
