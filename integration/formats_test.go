//go:build integration || vm

package integration

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// inFormats has `nspawn-build image` make images of the fixture, a real Debian, in
// some formats, each as system.FORMAT in the directory /srv/out of a host.
func inFormats(t *testing.T, h *testhost.Host, formats []image.Format, more ...string) (made map[image.Format]image.Artifact) {
	t.Helper()
	line := append([]string{"nspawn-build", "image", "--distro", "fixture", "--output", "json", "-o", "/srv/out/", "system"}, more...)
	for _, f := range formats {
		line = append(line, "--format", string(f))
	}
	r := h.RunCommand(t, testhost.Command{Args: line, Timeout: 20 * time.Minute})
	var res struct{ Artifacts []image.Artifact }
	if err := json.Unmarshal([]byte(r.Stdout), &res); err != nil || r.Exit != 0 || len(res.Artifacts) != len(formats) {
		t.Fatalf("the images were not made: %v: %s", err, r)
	}
	made = map[image.Format]image.Artifact{}
	for _, a := range res.Artifacts {
		t.Logf("%s: %d MB, sha256 %s", a.Format, a.Size>>20, a.SHA256)
		a.Path = h.Path(a.Path) // as this machine has it
		made[a.Format] = a
	}
	return made
}
