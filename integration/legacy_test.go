//go:build integration

package integration

import (
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

func TestAMachineLivesOnAHostWithLegacyCgroups(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			testhost.RequireLegacyCgroups(t)
			h := installFixture(t, kind.start(t, testhost.Options{LegacyCgroups: true}))
			before := h.Snapshot(t)
			m := create(t, h, fixture("box")...)
			checkMachine(t, h, m)
			want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
			want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
			checkMachine(t, h, m)
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}

// Under a container manager a host may have no /etc/machine-id, of which
// systemd-nspawn makes the addresses of a veth pair.
func TestAMachineLivesOnAHostWithoutAMachineID(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{NoMachineID: true}))
	before := h.Snapshot(t)
	checkMachine(t, h, create(t, h, fixture("box")...))
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}
