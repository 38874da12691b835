//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestASandboxIsNotStartedAsLessThanOne takes away the file by which
// systemd-nspawn hardens a machine. Without it, it would run all the same.
func TestASandboxIsNotStartedAsLessThanOne(t *testing.T) {
	t.Parallel()
	const settings = "/etc/systemd/nspawn/box.nspawn"
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			create(t, h, fixture("box", "--profile", "sandbox")...)
			hard := func(how string, r testhost.Result) {
				t.Helper()
				if !strings.Contains(r.Stderr, "they are put back") {
					t.Errorf("%s: it does not say so: %s", how, r)
				}
				if out := h.MustRun(t, "nspawn-build", "exec", "box", "grep", "NoNewPrivs", "/proc/1/status"); !strings.Contains(out, "1") {
					t.Errorf("%s: it runs with %s", how, out)
				}
			}
			h.MustRun(t, "rm", settings)
			hard("removed", want(t, exitDone, h.Run(t, "nspawn-build", "restart", "box")))
			h.MustRun(t, "sed", "-i", "s/NoNewPrivileges=yes/NoNewPrivileges=no/", settings)
			hard("changed", want(t, exitDone, h.Run(t, "nspawn-build", "restart", "box")))
			if r := want(t, exitDone, h.Run(t, "nspawn-build", "restart", "box")); strings.Contains(r.Stderr, "put back") {
				t.Errorf("what is as it was made is put back: %s", r)
			}
			if h.Exists(t, "/run/systemd/system") {
				h.MustRun(t, "sh", "-c", "nspawn-build stop box && rm "+settings)
				if r := h.Run(t, "machinectl", "start", "box"); r.Exit == 0 {
					t.Errorf("machinectl starts it without: %s", r)
				}
				hard("refused to machinectl", want(t, exitDone, h.Run(t, "nspawn-build", "start", "box")))
			}
			destroy(t, h, "box")

			// What a user changed of a machine that is no sandbox stays.
			create(t, h, fixture("box")...)
			h.MustRun(t, "sh", "-c", "echo '[Exec]' >>"+settings+" && echo NoNewPrivileges=yes >>"+settings)
			want(t, exitDone, h.Run(t, "nspawn-build", "restart", "box"))
			if out := h.MustRun(t, "nspawn-build", "exec", "box", "grep", "NoNewPrivs", "/proc/1/status"); !strings.Contains(out, "1") {
				t.Errorf("what its user wrote is gone: %s", out)
			}
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}
