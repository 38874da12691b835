package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// bounds are how much of the host a run may take: an image can be anybody's, and
// what its machine writes is kept in memory.
type bounds struct {
	Memory uint64 // bytes of all that runs, and of what it writes
	Layer  uint64 // bytes of what is written to the machine's root
	Tasks  uint64
}

// What a run gets of a host that is large, and of one that is small.
const (
	mostMemory  = 8 << 30
	leastMemory = 1 << 30
	mostLayer   = 2 << 30
	mostTasks   = 4096
)

// boundsOf are those on a host with so many bytes of memory.
func boundsOf(memory uint64) bounds {
	all := min(max(memory/2, leastMemory), memory, mostMemory)
	return bounds{Memory: all, Layer: min(all/2, mostLayer), Tasks: mostTasks}
}

// ownBounds are those on this host.
func ownBounds() (bounds, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return bounds{}, fmt.Errorf("how much memory there is: %w", err)
	}
	return boundsOf(uint64(info.Totalram) * uint64(info.Unit)), nil //nolint:unconvert // of another size elsewhere
}

// on bounds a cgroup that no service manager does. What this host's cgroups lack is
// not bounded by them.
func (b bounds) on(g cgroup.Group) {
	_ = g.Limit(spec.Limits{MemoryMax: b.Memory, TasksMax: b.Tasks}, "/")
	if dir := g.Unified(); dir != "" {
		_ = os.WriteFile(filepath.Join(dir, "memory.swap.max"), []byte("0"), 0)
	}
}

// layer are the options of the file system that the machine writes to. A file takes
// memory though it be empty.
func (b bounds) layer() string {
	const perFile = 2 << 10
	return fmt.Sprintf("mode=0755,size=%d,nr_inodes=%d", b.Layer, b.Layer/perFile)
}

// Where memory runs out, a run is what can best be repeated, and of a run the
// machine goes first: what then looks at it can say so.
const (
	roomBadness    = 500
	machineBadness = 800
)

// expendable has the kernel end this process, and what it starts from now on, before
// those that are worse to lose. What it returns takes that back. Nothing depends on it.
func expendable(badness int) (back func()) {
	const path = "/proc/self/oom_score_adj"
	text, err := os.ReadFile(path)
	had := strings.TrimSpace(string(text))
	if n, bad := strconv.Atoi(had); err != nil || bad != nil || n >= badness {
		return func() {}
	}
	_ = os.WriteFile(path, []byte(strconv.Itoa(badness)), 0)
	return func() { _ = os.WriteFile(path, []byte(had), 0) }
}
