//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

func TestAnImageThatIsNoFileSystemIsUnpackedToBeVerified(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	b := build(t, h, exitDone, imageLine("box", "/srv/out/", "--format", "tar.zst", "--format", "oci", "--verify", "--check", "test -d /etc")...)
	if len(b.Artifacts) != 2 {
		t.Fatalf("%+v", b)
	}
	before := h.Calm(t)
	for _, a := range b.Artifacts {
		r := want(t, exitDone, h.Run(t, "nspawn-build", "verify", "--check", "test -d /etc", a.Path))
		if !strings.Contains(r.Stdout, "6 of 6 checks passed") {
			t.Errorf("%s: %s", a.Format, r)
		}
		want(t, exitUnreachable, h.Run(t, "nspawn-build", "verify", "--check", "exit 3", a.Path))
	}
	if left := testhost.Diff(before, h.Calm(t)); left != "" {
		t.Errorf("verifying changed the host:\n%s", left)
	}
	if left := strings.TrimSpace(h.MustRun(t, "sh", "-c", "ls /var/tmp | grep nspawn-build-verify || true")); left != "" {
		t.Errorf("left behind: %s", left)
	}
	// An image that does not pass is none.
	failed := build(t, h, exitUnreachable, imageLine("bad", "/srv/bad/", "--format", "tar.zst", "--verify", "--check", "exit 3")...)
	if failed.Error == nil || !strings.Contains(failed.Error.Message, "check: exit 3") {
		t.Errorf("%+v", failed.Error)
	}
}
