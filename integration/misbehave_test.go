//go:build integration

package integration

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
	"github.com/nspawn-build/nspawn-build/integration/misbehave"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// forEver are modes that create kills after a quarter of an hour, as a tool may be
// silent for that long; that it does is shown in core/pluginhost.
var forEver = []string{"silent", "stop"}

// TestNoPluginDoesHarmAndEachIsToldWhatItBreaks installs a plugin for every way to
// misbehave, tries each, and has each asked for a machine.
func TestNoPluginDoesHarmAndEachIsToldWhatItBreaks(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, testhost.Options{}))
	installMisbehaving(t, h)
	before := h.Snapshot(t)
	// At once, whatever -parallel says: those that hang take no more than time.
	var trying sync.WaitGroup
	turn := make(chan struct{}, 3)
	for _, m := range misbehave.Modes() {
		each := func(name string, test func(*testing.T, *testhost.Host, misbehave.Mode)) {
			trying.Go(func() {
				if !waits(m) {
					turn <- struct{}{}
					defer func() { <-turn }()
				}
				t.Run(m.Name+"/"+name, func(t *testing.T) { test(t, h, m) })
			})
		}
		each("check names the rule", checkNamesRule)
		if !slices.Contains(forEver, m.Name) {
			each("create ends well", createEnds)
		}
	}
	trying.Wait()
	left := h.Run(t, "sh", "-c", "pgrep -af 'nspawn-build-plugin-|"+misbehave.Daemon+"' | grep -v pgrep; ls -d /var/cache/nspawn-build/trials /run/nspawn-build/plugin-* 2>/dev/null")
	if text := strings.TrimSpace(left.Stdout); text != "" {
		t.Errorf("this is left:\n%s", text)
	}
	nothingLeft(t, h, before)
}

// waits tells of modes that take time and no work.
func waits(m misbehave.Mode) bool {
	return strings.HasPrefix(m.Name, "hang-") || strings.HasPrefix(m.Name, "stop")
}

// pluginFile is where a host has the plugin of a mode.
func pluginFile(m misbehave.Mode) string {
	return "/usr/local/lib/nspawn-build/plugins/nspawn-build-plugin-" + m.Name
}

func installMisbehaving(t *testing.T, h *testhost.Host) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "misbehave")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./misbehave/plugin").CombinedOutput(); err != nil {
		t.Fatalf("build the plugin that misbehaves: %v\n%s", err, out)
	}
	modes := misbehave.Modes()
	h.CopyIn(t, program, pluginFile(modes[0]))
	var script strings.Builder
	for _, m := range modes[1:] {
		script.WriteString("ln " + pluginFile(modes[0]) + " " + pluginFile(m) + "\n")
	}
	h.MustRun(t, "sh", "-ec", script.String()+"nspawn-build plugin-lock /usr/local/lib/nspawn-build/plugins")
}

func checkNamesRule(t *testing.T, h *testhost.Host, m misbehave.Mode) {
	t.Helper()
	args := []string{"nspawn-build", "plugin", "check", "--output", "json", pluginFile(m)}
	if slices.Contains(forEver, m.Name) {
		args = append(args[:3:3], append([]string{"--silence", "2s"}, args[3:]...)...)
	}
	r := h.RunCommand(t, testhost.Command{Args: args, Timeout: 3 * time.Minute})
	exit := exitBootstrap
	if len(m.Breaks) == 0 {
		exit = exitDone
	}
	if r.Exit != exit {
		t.Fatalf("want exit %d, got %s", exit, r)
	}
	var report conformance.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	var broken []string
	for _, result := range report.Results {
		if result.Status == conformance.Broken {
			broken = append(broken, result.ID)
		}
	}
	if diff := cmp.Diff(m.Breaks, broken); diff != "" {
		t.Errorf("the rules that are broken differ (-want +got):\n%s\n%s", diff, r)
	}
}

func createEnds(t *testing.T, h *testhost.Host, m misbehave.Mode) {
	t.Helper()
	name := "m-" + m.Name
	r := h.RunCommand(t, testhost.Command{
		Args: []string{"nspawn-build", "--distro", m.Distro(), "--no-boot", name}, Timeout: 2 * time.Minute,
	})
	if r.Exit != m.Exit || r.Held {
		t.Errorf("want exit %d, got %s", m.Exit, r)
	}
	if !strings.Contains(r.Stderr, m.Says) || m.Exit != exitDone && !strings.Contains(r.Stderr, "hint: ") {
		t.Errorf("it does not say %q: %s", m.Says, r)
	}
	if strings.ContainsAny(r.Stdout+r.Stderr, "\x1b\a") {
		t.Errorf("a terminal would take this for more than text: %q", r.Stdout+r.Stderr)
	}
	if r.Exit == exitDone {
		destroy(t, h, name)
	}
}
