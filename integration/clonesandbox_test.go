//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestACloneIsBoundAndKnownAsItsOriginIs clones a sandbox that shows a directory
// of the host and that the host knows by its plain name.
func TestACloneIsBoundAndKnownAsItsOriginIs(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := withUsers(t, installFixture(t, kind.start(t, testhost.Options{})))
			h.Internet(t)
			before := h.Snapshot(t)
			box := create(t, h, fixture("box", "--alias", "--profile", "sandbox", "--bind-ro", "/srv/open:/mnt/open", "--no-boot")...)
			h.MustRun(t, as("alice", "echo shown >/srv/open/note; chmod 644 /srv/open/note")...)
			twin := create(t, h, clone("box", "twin")...)
			want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
			for _, m := range []created{box, twin} {
				sandboxed(t, h, m)
				if r := ssh(t, h, m.Name, "uname -n; cat /mnt/open/note; touch /mnt/open/x"); r.Stdout != m.Name+"\nshown\n" || !strings.Contains(r.Stderr, "Read-only") {
					t.Errorf("by its plain name and in what is bound: %s", r)
				}
				if got := h.MustRun(t, "getent", "hosts", m.Name); !strings.Contains(got, m.Address.String()) {
					t.Errorf("%s is %q", m.Name, got)
				}
				closed := "tcp/" + testhost.OutsideAddress + "/" + testhost.EchoPort
				open := "tcp/" + testhost.InternetAddress + "/" + testhost.EchoPort
				if got := reached(t, h, m.Name, closed, open); strings.Join(got, " ") != open {
					t.Errorf("%s reaches %q", m.Name, got)
				}
			}
			// Neither takes the other's name with it.
			destroy(t, h, "box")
			if r := ssh(t, h, "twin", "cat /mnt/open/note"); r.Stdout != "shown\n" {
				t.Errorf("without its origin: %s", r)
			}
			sandboxed(t, h, twin)
			destroy(t, h, "twin")
			h.MustRun(t, "rm", "/srv/open/note")
			nothingLeft(t, h, before)
		})
	}
}
