package testhost

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// memoryEvery is how often PeakMemory looks: a peak between two looks is missed.
const memoryEvery = 100 * time.Millisecond

// PeakMemory looks at the memory of everything that runs on the host, machines
// included and its PID 1 left out, until stop is called, which returns the most
// that it saw, in bytes. It is the sum of the processes' proportional set sizes
// (Pss of /proc/PID/smaps_rollup): pages that several of them map count once,
// and the page cache does not count. No memory controller is needed for it.
// A child that is about to execute another program still has its parent's
// memory, which counts once, too.
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
			if pid != strconv.Itoa(without) && !borrowed(pid) {
				sum += proportional(pid)
			}
		}
		return nil
	})
	return sum
}

// kcmpVM asks kcmp(2) whether two processes share their memory.
const kcmpVM = 1

// borrowed tells whether a process still has the memory of its parent.
func borrowed(pid string) bool {
	status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return true // gone
	}
	_, rest, _ := strings.Cut(string(status), "\nPPid:")
	line, _, _ := strings.Cut(rest, "\n")
	parent, parentErr := strconv.Atoi(strings.TrimSpace(line))
	child, childErr := strconv.Atoi(pid)
	if parentErr != nil || childErr != nil || parent == 0 {
		return false
	}
	same, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(child), uintptr(parent), kcmpVM, 0, 0, 0)
	return errno == 0 && same == 0
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
