package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestHierarchiesAreFound(t *testing.T) {
	const (
		unified = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		v2      = "31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		named   = "32 24 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
		memory  = "33 24 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		other   = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
	)
	tests := []struct {
		name, mounts string
		want         Host
		roots        []string
	}{
		{"unified", other + unified, Host{Unified: "/sys/fs/cgroup"}, []string{"/sys/fs/cgroup"}},
		{
			"hybrid", other + v2 + named + memory,
			Host{Unified: "/sys/fs/cgroup/unified", Named: "/sys/fs/cgroup/systemd", Hybrid: true},
			[]string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"},
		},
		{"legacy", named + memory, Host{Named: "/sys/fs/cgroup/systemd", Hybrid: true}, []string{"/sys/fs/cgroup/systemd"}},
		{"none", other, Host{}, nil},
		{"mounted twice", unified + v2, Host{Unified: "/sys/fs/cgroup"}, []string{"/sys/fs/cgroup"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse([]byte(tt.mounts))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.roots, got.Roots()); diff != "" {
				t.Errorf("roots (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLimitsAreWrittenAsTheKernelTakesThem(t *testing.T) {
	tests := []struct {
		name   string
		limits spec.Limits
		want   map[string]string // of those that bound something
	}{
		{"none", spec.Limits{}, map[string]string{}},
		{
			"all",
			spec.Limits{CPUQuota: 50, MemoryMax: 8 << 30, MemoryHigh: 6 << 30, IOBandwidth: 1 << 20, IOWeight: 100, TasksMax: 512},
			map[string]string{
				"cpu.max": "50000 100000", "memory.max": "8589934592", "memory.high": "6442450944",
				"io.max": "254:0 rbps=1048576 wbps=1048576", "io.weight": "default 100", "pids.max": "512",
			},
		},
		{"two CPUs", spec.Limits{CPUQuota: 200}, map[string]string{"cpu.max": "200000 100000"}},
		{"the least", spec.Limits{CPUQuota: 1}, map[string]string{"cpu.max": "1000 100000"}},
		{
			"lifted", spec.Limits{
				CPUQuota: spec.Infinity, MemoryMax: spec.Infinity, MemoryHigh: spec.Infinity, IOBandwidth: spec.Infinity, TasksMax: spec.Infinity,
			}, map[string]string{},
		},
	}
	loose := map[string]string{
		"cpu.max": "max 100000", "memory.max": "max", "memory.high": "max",
		"io.max": "254:0 rbps=max wbps=max", "io.weight": "default 100", "pids.max": "max",
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]string{}
			all := settings(tt.limits, "254:0")
			if len(all) != len(loose) {
				t.Errorf("%d settings, want each of %d", len(all), len(loose))
			}
			for _, s := range all {
				if !s.loose {
					got[s.file] = s.value
				} else if s.value != loose[s.file] {
					t.Errorf("what is not bounded is %s=%q", s.file, s.value)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// hierarchy stands in for a mounted cgroup v2 with a group "box" in it.
func hierarchy(t *testing.T, controllers, enabled string) Host {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"cgroup.controllers": controllers, "cgroup.subtree_control": enabled,
		"box/cpu.max": "", "box/memory.max": "", "box/memory.high": "", "box/pids.max": "", "box/cgroup.procs": "",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Host{Unified: root}
}

func TestWhatCannotBeEnforcedIsNamedWithTheReason(t *testing.T) {
	all := spec.Limits{CPUQuota: 50, MemoryMax: 1 << 30, IOWeight: 100, TasksMax: 10}
	unified := hierarchy(t, "cpu memory pids", "cpu memory pids")
	hybrid := unified
	hybrid.Hybrid = true
	tests := []struct {
		name   string
		host   Host
		limits spec.Limits
		want   []string // the beginnings
	}{
		{"nothing asked", Host{}, spec.Limits{}, nil},
		{"no cgroup v2", Host{}, all, []string{"limits.cpu-quota: ", "limits.memory-max: ", "limits.io-weight: ", "limits.tasks-max: "}},
		{"hybrid", hybrid, spec.Limits{MemoryMax: 1}, []string{"limits.memory-max: this host uses legacy cgroups"}},
		{"a controller is missing", unified, all, []string{"limits.io-weight: this host's cgroups lack the io controller"}},
		{"lifted holds anywhere", Host{}, spec.Limits{MemoryMax: spec.Infinity}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.host.Unenforced(tt.limits, "/")
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i, begin := range tt.want {
				if !strings.HasPrefix(got[i], begin) {
					t.Errorf("got %q, want %q…", got[i], begin)
				}
			}
		})
	}
}

func TestLimitsAreSetAndReadBackAndTakenBack(t *testing.T) {
	h := hierarchy(t, "cpu memory pids", "cpu memory pids")
	g := h.Group("box")
	first := spec.Limits{CPUQuota: 150, MemoryMax: 1 << 30, MemoryHigh: 1 << 29, TasksMax: 100}
	second := spec.Limits{MemoryMax: 1 << 29, TasksMax: spec.Infinity}
	second.CPUQuota, second.MemoryHigh = spec.Infinity, spec.Infinity // as the kernel says it
	for _, step := range []struct{ set, want spec.Limits }{
		{first, first},
		{spec.Limits{MemoryMax: 1 << 29}, second},
	} {
		for _, file := range []string{"cpu.max", "memory.max", "memory.high", "pids.max"} { // the kernel's keep one value
			if err := os.Truncate(filepath.Join(g.Unified(), file), 0); err != nil {
				t.Fatal(err)
			}
		}
		if refused := g.Limit(step.set, t.TempDir()); refused != nil {
			t.Fatal(refused)
		}
		if diff := cmp.Diff(step.want, g.Limits(t.TempDir())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestWhatTheKernelRoundsIsNoDifference(t *testing.T) {
	page := uint64(os.Getpagesize())
	for _, tt := range []struct {
		name           string
		kernel, wanted uint64
		differs        bool
	}{
		{"memory-max", 10 * page, 10 * page, false},
		{"memory-max", 10 * page, 10*page + 1, false},
		{"memory-high", 10 * page, 11 * page, true},
		{"memory-max", spec.Infinity, 1 << 63, false},
		{"memory-max", spec.Infinity, 1 << 30, true},
		{"tasks-max", 0, 500, false}, // unknown
		{"tasks-max", 400, 500, true},
		{"io-weight", 100, 50, true},
	} {
		if got := Differs(tt.name, tt.kernel, tt.wanted); got != tt.differs {
			t.Errorf("%s: %d instead of %d: %t", tt.name, tt.kernel, tt.wanted, got)
		}
	}
}

func TestRefusedLimitIsNamed(t *testing.T) {
	h := hierarchy(t, "cpu memory pids io", "cpu memory pids io")
	refused := h.Group("box").Limit(spec.Limits{IOWeight: 100, TasksMax: 5}, "/none") // without io.weight
	if len(refused) != 1 || !strings.HasPrefix(refused[0], "limits.io-weight: ") {
		t.Errorf("got %q", refused)
	}
}

func TestControllerIsTurnedOnAndNoneTurnedOff(t *testing.T) {
	h := hierarchy(t, "cpu memory pids", "cpu")
	if refused := h.Group("box").Limit(spec.Limits{MemoryMax: 1 << 20}, "/"); refused != nil {
		t.Fatal(refused)
	}
	if got := read(h.Unified, "cgroup.subtree_control"); !strings.Contains(got, "+memory") || strings.Contains(got, "-") {
		t.Errorf("wrote %q", got)
	}
}

func TestGroupThatDoesNotExistHasNothingAndIsRemoved(t *testing.T) {
	g := hierarchy(t, "", "").Group("none")
	if pids, err := g.Processes(); err != nil || len(pids) != 0 {
		t.Errorf("%v, %v", pids, err)
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestHostWithoutHierarchiesSaysSo(t *testing.T) {
	if err := (Host{}).Group("box").Create(); err == nil {
		t.Error("a group was made nowhere")
	}
}
