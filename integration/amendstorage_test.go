//go:build integration

package integration

import (
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestStorageThatIsEditedIsWhatAMachineBootsWith edits into a machine what takes
// a place in its tree, and a tree that can be copied.
func TestStorageThatIsEditedIsWhatAMachineBootsWith(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			create(t, h, fixture("box")...)
			edit := func(args ...string) {
				t.Helper()
				create(t, h, fixture("box", append(args, "--apply", "--restart")...)...)
			}
			inside := func(script string) { t.Helper(); h.MustRun(t, "nspawn-build", "exec", "box", "sh", "-ec", script) }

			edit("--read-only", "--bind-ro", "/usr/share:/opt/other/share")
			inside("test -d /opt/other/share/doc; ! touch /opt/x")
			edit("--ephemeral", "--bind-ro", "/usr/share:/opt/other/share")
			inside("test -d /opt/other/share/doc; touch /opt/x")
			h.MustRun(t, "nspawn-build", "restart", "box")
			inside("! test -e /opt/x")
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}
