//go:build integration

package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

func TestAnImageThatFailsIsKeptWhereThatIsAsked(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.WriteFile(t, "/srv/bad.sh", "#!/bin/sh\necho made >/opt/made\necho the last words\nexit 7\n", "0755")
	h.MustRun(t, "mkdir", "/srv/out")
	before := h.Calm(t)
	// failed builds an image that fails, and returns where what was made is.
	failed := func(exit int, more ...string) (kept, log string) {
		t.Helper()
		r := want(t, exit, h.Run(t, append(imageLine("x", "/srv/out/", "--format", "tar", "--on-error", "keep", "--output", "json"), more...)...))
		var b struct {
			Kept, Log string
			Artifacts []any
			Error     struct{ Code int }
		}
		if err := json.Unmarshal([]byte(r.Stdout), &b); err != nil || b.Error.Code != exit || len(b.Artifacts) != 0 || !strings.HasPrefix(b.Kept, "/srv/out/.") {
			t.Fatalf("%v: %s", err, r)
		}
		if !strings.Contains(r.Stderr, "what was made is kept: the tree is "+b.Kept+"/root") || !strings.Contains(r.Stderr, "hint: the next image of that name takes its place") {
			t.Errorf("it is not said where: %s", r)
		}
		// Nobody else comes near it, nothing is mounted in it, nothing else is there.
		if mode := strings.TrimSpace(h.MustRun(t, "stat", "-c", "%a %u", b.Kept)); mode != "700 0" {
			t.Errorf("its mode and owner are %s", mode)
		}
		h.MustRun(t, "sh", "-c", "! grep -F "+b.Kept+" /proc/self/mountinfo")
		// The log of the one before it is no longer with what was kept of that.
		if all := strings.Fields(h.MustRun(t, "ls", "-A", "-I", "x.log", "/srv/out")); len(all) != 1 {
			t.Errorf("there are %q", all)
		}
		return b.Kept, b.Log
	}
	kept, log := failed(exitConfigure, "--script", "/srv/bad.sh")
	if h.ReadFile(t, kept+"/root/opt/made") != "made\n" || !strings.Contains(h.ReadFile(t, log), "the last words") {
		t.Error("it is not what the script left")
	}
	// The next one takes its place.
	first := kept
	kept, _ = failed(exitUnreachable, "--verify", "--check", "exit 3")
	if kept == first || h.Exists(t, first) {
		t.Errorf("%s is still there", first)
	}
	h.MustRun(t, "tar", "-tf", kept+"/out/x.tar", "./etc/os-release")
	build(t, h, exitDone, imageLine("x", "/srv/out/", "--format", "tar")...)
	if left := h.MustRun(t, "find", "/srv/out", "-name", ".*", "-mindepth", "1"); left != "" {
		t.Errorf("this is left: %s", left)
	}
	h.MustRun(t, "sh", "-c", "rm /srv/out/x.*")
	nothingLeft(t, h, before)
}
