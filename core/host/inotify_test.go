package host

import "testing"

func TestManyMachinesNeedMoreInotifyInstancesThanTheKernelsDefault(t *testing.T) {
	for _, c := range []struct {
		machines, limit int
		short           bool
	}{{1, 128, false}, {12, 128, false}, {20, 128, true}, {20, 1024, false}} {
		if got := inotifyShort(c.machines, c.limit); (got != "") != c.short {
			t.Errorf("%d machines, limit %d: %q", c.machines, c.limit, got)
		}
	}
}
