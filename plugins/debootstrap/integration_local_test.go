//go:build integration

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// TestAMirrorInADirectoryIsAllThatIsNeeded makes a mirror of the packages of a
// first machine and then machines from that mirror alone.
func TestAMirrorInADirectoryIsAllThatIsNeeded(t *testing.T) {
	t.Parallel()
	sdktest.NeedTools(t, engineMmdebstrap, engineDebootstrap, "xz")
	mirror := localRelease(t, func(text []byte) []byte { return text })
	req := request(t, "debian", "trixie")
	ownCache(t, &req)
	req.Options[optionUpdates], req.Options[optionSecurity] = "off", "none"
	if _, _, err := bootstrap(t, req); err != nil {
		t.Fatalf("%+v", err)
	}
	fillMirror(t, strings.TrimPrefix(mirror, "file://"), req.CacheDirectory)
	t.Run("ubuntu", func(t *testing.T) { checkUbuntu(t, req.CacheDirectory) })
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			req := request(t, "debian", "trixie")
			req.Options[optionEngine] = engine
			req.Mirrors = []string{mirror}
			wanted := mirror
			if engine == engineMmdebstrap { // as if it were one moment of an archive
				directory := strings.TrimPrefix(mirror, "file://")
				if err := os.Symlink(directory, filepath.Join(filepath.Dir(directory), "20261101T000000Z")); err != nil {
					t.Fatal(err)
				}
				req.Snapshot = "2026-11-01"
				req.Mirrors = []string{"file://" + filepath.Dir(directory) + "/" + sdk.SnapshotVariable}
				wanted = "file://" + filepath.Dir(directory) + "/20261101T000000Z"
			}
			facts, recorder, err := bootstrap(t, req)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if len(facts.Packages) < 100 || facts.ProbeHost != "" {
				t.Errorf("there are %d packages, and the probe is %q", len(facts.Packages), facts.ProbeHost)
			}
			for _, line := range recorder.Lines() {
				if strings.Contains(line, "http:") || strings.Contains(line, "https:") {
					t.Errorf("another mirror was used: %s", line)
				}
			}
			text, err := os.ReadFile(filepath.Join(req.Target, "etc/apt/sources.list.d/debian.sources"))
			if err != nil || !strings.Contains(string(text), "\nURIs: "+wanted+"\n") || strings.Contains(string(text), "-security") {
				t.Errorf("the machine's sources are %q, %v", text, err)
			}
			if err := target.NoMounts(req.Target); err != nil {
				t.Error(err)
			}
		})
	}
}

// fillMirror completes a mirror that has a release file with its index and
// with those of its packages that are in a cache.
func fillMirror(t *testing.T, mirror, cache string) {
	t.Helper()
	const index = "dists/trixie/main/binary-amd64/Packages.xz"
	packages := filepath.Join(mirror, index)
	if err := os.MkdirAll(filepath.Dir(packages), 0o755); err != nil {
		t.Fatal(err)
	}
	fetch := sdk.Command{Argv: []string{"/usr/lib/apt/apt-helper", "download-file", thisHost().archive("debian").URI + "/" + index, packages}}
	if err := fetch.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command("xz", "-dc", packages).Output()
	if err != nil {
		t.Fatal(err)
	}
	filename, count := "", 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if value, ok := strings.CutPrefix(line, "Filename: "); ok {
			filename = value
		}
		digest, ok := strings.CutPrefix(line, "SHA256: ")
		if !ok {
			continue
		}
		deb, err := os.ReadFile(filepath.Join(cache, "sha256", digest))
		if err != nil {
			continue // not one of the machine's
		}
		to := filepath.Join(mirror, filename)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, deb, 0o644); err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count < 100 {
		t.Fatalf("only %d packages of the index are in the cache", count)
	}
}
