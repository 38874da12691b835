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
		want   map[string]string
	}{
		{"none", spec.Limits{}, map[string]string{}},
		{
			"all",
			spec.Limits{CPUQuota: 50, MemoryMax: 8 << 30, IOWeight: 100, TasksMax: 512},
			map[string]string{"cpu.max": "50000 100000", "memory.max": "8589934592", "io.weight": "default 100", "pids.max": "512"},
		},
		{"two CPUs", spec.Limits{CPUQuota: 200}, map[string]string{"cpu.max": "200000 100000"}},
		{"the least", spec.Limits{CPUQuota: 1}, map[string]string{"cpu.max": "1000 100000"}},
		{
			"lifted",
			spec.Limits{CPUQuota: spec.Infinity, MemoryMax: spec.Infinity, TasksMax: spec.Infinity},
			map[string]string{"cpu.max": "max 100000", "memory.max": "max", "pids.max": "max"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]string{}
			for _, s := range settings(tt.limits) {
				got[s.file] = s.value
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
		"box/cpu.max": "", "box/memory.max": "", "box/pids.max": "", "box/cgroup.procs": "",
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
			got := tt.host.Unenforced(tt.limits)
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

func TestLimitsAreSetAndReadBack(t *testing.T) {
	h := hierarchy(t, "cpu memory pids", "cpu memory pids")
	g := h.Group("box")
	want := spec.Limits{CPUQuota: 150, MemoryMax: 1 << 30, TasksMax: spec.Infinity}
	if refused := g.Limit(want); refused != nil {
		t.Fatal(refused)
	}
	if diff := cmp.Diff(want, g.Limits()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRefusedLimitIsNamed(t *testing.T) {
	h := hierarchy(t, "cpu memory pids io", "cpu memory pids io")
	refused := h.Group("box").Limit(spec.Limits{IOWeight: 100, TasksMax: 5}) // without io.weight
	if len(refused) != 1 || !strings.HasPrefix(refused[0], "limits.io-weight: ") {
		t.Errorf("got %q", refused)
	}
}

func TestControllerIsTurnedOnAndNoneTurnedOff(t *testing.T) {
	h := hierarchy(t, "cpu memory pids", "cpu")
	if refused := h.Group("box").Limit(spec.Limits{MemoryMax: 1 << 20}); refused != nil {
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
