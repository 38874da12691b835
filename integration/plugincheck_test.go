//go:build integration

package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
	"github.com/nspawn-build/nspawn-build/integration/misbehave"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// checkPlugin runs plugin check and returns what it reports.
func checkPlugin(t *testing.T, h *testhost.Host, exit int, plugin string, more ...string) conformance.Report {
	t.Helper()
	args := slices.Concat([]string{"nspawn-build", "plugin", "check", "--output", "json"}, more,
		[]string{"/usr/local/lib/nspawn-build/plugins/nspawn-build-plugin-" + plugin})
	r := want(t, exit, h.Run(t, args...))
	var report conformance.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	return report
}

// TestOurPluginsKeepToEveryRuleAndWhatTheyMakeBoots tries the plugins that are
// installed, each with the repository that the tests have for it.
func TestOurPluginsKeepToEveryRuleAndWhatTheyMakeBoots(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, options(t, testhost.Options{Suite: "trixie"}, arch, fedora)))
	asked := map[string][]string{
		"pacstrap":    append(arch.sources(t, h), "--distro", "arch"),
		"dnf":         append(fedora.sources(t, h), "--distro", "fedora", "--release", fedora.release),
		"debootstrap": {"--distro", "debian", "--release", "trixie"},
	}
	before := h.Snapshot(t)
	for plugin, request := range asked {
		t.Run(plugin, func(t *testing.T) {
			report := checkPlugin(t, h, exitDone, plugin, append(request, "--boot")...)
			for _, r := range report.Results {
				if r.Status == conformance.Skipped && r.Group != conformance.GroupState {
					t.Errorf("%s was not looked at: %s", r.ID, r.Skipped)
				}
			}
		})
	}
	nothingLeft(t, h, before)
}

func TestWhatAPluginMakesIsBootedWhenThatIsAskedFor(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	installMisbehaving(t, h)
	before := h.Calm(t)
	report := checkPlugin(t, h, exitDone, "fixture", "--boot", "--only", conformance.GroupBoot)
	if report.Kept != 5 || report.Skipped+report.Broken != 0 {
		t.Errorf("%+v", report)
	}
	// What looks like a system and is none does not boot.
	report = checkPlugin(t, h, exitBootstrap, misbehave.Exemplary, "--boot", "--only", conformance.GroupBoot)
	if report.Results[0].ID != "boot-booted" || report.Results[0].Status != conformance.Broken {
		t.Errorf("%+v", report)
	}
	if left := testhost.Diff(before, h.Calm(t)); left != "" {
		t.Errorf("it changed the host:\n%s", left)
	}
}

func TestOnlyABinaryThatIsRootsAloneIsTried(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	const plugin = "/usr/local/lib/nspawn-build/plugins/nspawn-build-plugin-fixture"
	h.MustRun(t, "sh", "-ec", `mkdir -p /srv/p && cp `+plugin+` /srv/p/ && cp `+plugin+` /srv/p/other
		mkdir /srv/open && chmod 777 /srv/open && cp `+plugin+` /srv/open/
		cp `+plugin+` /srv/p/nspawn-build-plugin-shared && chmod 775 /srv/p/nspawn-build-plugin-shared
		printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\363\0\1\0\0\0' | dd of=/srv/p/nspawn-build-plugin-foreign bs=64 conv=sync status=none && chmod 755 /srv/p/nspawn-build-plugin-foreign`)
	for path, says := range map[string]string{
		"/srv/open/nspawn-build-plugin-fixture": "can be written by others",
		"/srv/p/nspawn-build-plugin-shared":     "can be written by others",
		"/srv/p/other":                          "its name is not that of a plugin",
		"/srv/p/nspawn-build-plugin-foreign":    "it is built for riscv",
		"/srv/p/nspawn-build-plugin-none":       "no such file",
	} {
		r := h.Run(t, "nspawn-build", "plugin", "check", path)
		if r.Exit == exitDone || r.Exit == exitBootstrap || !strings.Contains(r.Stderr, says) || r.Stdout != "" {
			t.Errorf("%s: %s", path, r)
		}
	}
	// One that is nowhere installed is tried all the same, loudly.
	r := want(t, exitDone, h.Run(t, "nspawn-build", "plugin", "check", "--only", "handshake", "/srv/p/nspawn-build-plugin-fixture"))
	if !strings.Contains(r.Stderr, "nothing vouches for it: sha256 ") || !strings.Contains(r.Stdout, "6 rules kept, 0 broken") {
		t.Error(r)
	}
	if got := h.Run(t, "nspawn-build", "plugin", "check", "--only", "nonsense", plugin); got.Exit != exitUsage || !strings.Contains(got.Stderr, "--list-rules") {
		t.Error(got)
	}
}
