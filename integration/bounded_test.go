//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// What a machine cannot be given, because whoever starts it has it not, is told
// once it has booted; and nothing is told of what holds.
func TestCapabilitiesThatDoNotHoldAreTold(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	// In users of its own a machine has every capability over what is its own.
	hardened := []string{"--private-network", "--private-users", "no", "--capability", "sys_time", "--drop-capability", "mknod"}
	r := want(t, exitDone, h.Run(t, fixture("held", hardened...)...))
	if strings.Contains(r.Stderr, "to be taken") || strings.Contains(r.Stderr, "was given") {
		t.Errorf("of what holds it says %s", r)
	}
	r = want(t, exitDone, h.Run(t, slices.Concat([]string{"setpriv", "--bounding-set", "-sys_time"}, fixture("lacking", hardened...))...))
	has(t, "what is told", r.Stderr, "lacking has not what it was given: CAP_SYS_TIME")
}
