package systemd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestLimitsAreReadAsTheServiceManagerSaysThem(t *testing.T) {
	const none = spec.Infinity
	got := parseLimits(map[string]any{
		"CPUQuotaPerSecUSec": uint64(1_500_000), "MemoryMax": uint64(1 << 30), "IOWeight": none, "TasksMax": uint64(500),
		"IOReadBandwidthMax":  [][]any{{"/other", uint64(1)}, {"/srv/box", uint64(5)}, {"/srv/box", uint64(50)}},
		"IOWriteBandwidthMax": [][]any{{"/srv/box", uint64(50)}},
	}, "/srv/box")
	want := spec.Limits{CPUQuota: 150, MemoryMax: 1 << 30, MemoryHigh: none, IOWeight: none, TasksMax: 500, IOBandwidth: 50}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = parseLimits(map[string]any{"CPUQuotaPerSecUSec": none, "IOReadBandwidthMax": [][]any{}}, "/srv/box")
	want = spec.Limits{CPUQuota: none, MemoryMax: none, MemoryHigh: none, IOWeight: none, TasksMax: none, IOBandwidth: none}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
}

// dropIns writes files as the service manager lists them: by the order of their
// names, whatever their directory.
func dropIns(t *testing.T) (before, ours, after, all string) {
	t.Helper()
	root := t.TempDir()
	write := func(dir, name, text string) string {
		path := filepath.Join(root, dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("[Service]\n"+text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const own = "systemd-nspawn@box.service.d"
	return write("system.control/"+own, "50-MemoryMax.conf", "MemoryMax=5"),
		write("system/"+own, ourDropIn, "MemoryMax=1073741824"),
		write("system/"+own, "90-mine.conf", " MemoryMax = 7"),
		write("system/systemd-nspawn@.service.d", "99-all.conf", "MemoryMax=9")
}

func TestWhoHasTheLastWordIsNamed(t *testing.T) {
	before, ours, after, all := dropIns(t)
	const none = spec.Infinity
	free := spec.Limits{CPUQuota: none, MemoryMax: none, MemoryHigh: none, IOWeight: none, TasksMax: none, IOBandwidth: none}
	unbounded := free
	unbounded.IOWeight = 100 // as the kernel says that there is none
	with := func(memory uint64) spec.Limits { l := free; l.MemoryMax = memory; return l }
	wanted := spec.Limits{MemoryMax: 1 << 30}
	tests := []struct {
		name   string
		unit   unit
		wanted spec.Limits
		kernel spec.Limits
		want   driver.Bounds
	}{
		{"as wanted", unit{limits: with(1 << 30), files: []string{before, ours}}, wanted, spec.Limits{MemoryMax: 1 << 30}, driver.Bounds{}},
		{"nothing is known of the kernel", unit{limits: with(1 << 30), files: []string{ours}}, wanted, spec.Limits{}, driver.Bounds{}},
		{
			"the files were not read",
			unit{limits: with(5), stale: true, files: []string{ours}},
			wanted,
			spec.Limits{},
			driver.Bounds{Pending: []string{"the service manager has not read the unit's files since they were changed"}},
		},
		{
			// Ours comes after it: read again, ours holds.
			"set by set-property",
			unit{limits: with(5), files: []string{before, ours}},
			wanted,
			spec.Limits{},
			driver.Bounds{Pending: []string{"limits.memory-max: the service manager has 5"}},
		},
		{
			"by a later file",
			unit{limits: with(7), files: []string{before, ours, after}},
			wanted,
			spec.Limits{},
			driver.Bounds{Outranked: []driver.Outranked{{Limit: "memory-max", Value: "7", File: after, Directives: []string{"MemoryMax"}, Wanted: true}}},
		},
		{
			"not wanted, and set all the same",
			unit{limits: with(5), files: []string{before}},
			spec.Limits{},
			spec.Limits{},
			driver.Bounds{Outranked: []driver.Outranked{{Limit: "memory-max", Value: "5", File: before, Directives: []string{"MemoryMax"}}}},
		},
		{"the host's default for all machines", unit{limits: with(9), files: []string{all}}, spec.Limits{}, spec.Limits{}, driver.Bounds{}},
		{
			"written to the kernel by hand",
			unit{limits: with(1 << 30), files: []string{ours}},
			wanted,
			spec.Limits{MemoryMax: none},
			driver.Bounds{Pending: []string{"limits.memory-max: the kernel has infinity"}},
		},
		{"lifted", unit{limits: free, files: []string{ours}}, spec.Limits{MemoryMax: none, CPUQuota: none}, unbounded, driver.Bounds{}},
		{
			"unset, and not yet in the kernel",
			unit{limits: free},
			spec.Limits{},
			spec.Limits{CPUQuota: 50, IOWeight: 50},
			driver.Bounds{Pending: []string{"limits.cpu-quota: the kernel has 50%", "limits.io-weight: the kernel has 50"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := driver.Bounds{Kernel: tt.kernel}
			tt.unit.compare(tt.wanted, &b)
			tt.want.Kernel = tt.kernel
			if diff := cmp.Diff(tt.want, b); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
