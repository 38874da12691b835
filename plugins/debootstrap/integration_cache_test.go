//go:build integration

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// downloads counts the files that apt and wget fetched from the mirror.
func downloads(recorder *sdktest.Recorder) (indexes, packages []string) {
	for _, line := range recorder.Lines() {
		switch {
		case strings.HasPrefix(line, "Get:") && strings.Contains(line, " Packages ["):
			indexes = append(indexes, line)
		case strings.HasPrefix(line, "Get:") && !strings.Contains(line, "InRelease"):
			packages = append(packages, line)
		case strings.TrimSpace(line) == "I: Retrieving Packages":
			indexes = append(indexes, line)
		case strings.HasPrefix(line, "I: Retrieving ") && strings.Count(strings.TrimSpace(line), " ") == 3:
			packages = append(packages, line)
		}
	}
	return indexes, packages
}

func TestTheSecondTimeOnlyWhatWasAlteredIsDownloaded(t *testing.T) {
	t.Parallel()
	made := map[string]sdk.Facts{}
	var mu sync.Mutex
	t.Run("engines", func(t *testing.T) {
		for _, engine := range engines {
			t.Run(engine, func(t *testing.T) {
				t.Parallel()
				sdktest.NeedTools(t, engine)
				facts := twice(t, engine)
				mu.Lock()
				defer mu.Unlock()
				made[engine] = facts
			})
		}
	})
	checkSame(t, made)
}

// twice makes the same tree twice, and alters one package in the cache in
// between.
func twice(t *testing.T, engine string) (facts sdk.Facts) {
	t.Helper()
	req := request(t, "debian", "trixie")
	ownCache(t, &req)
	req.Options[optionEngine] = engine
	tree, work := req.Target, req.WorkDirectory
	for round := range 2 {
		req.Target, req.WorkDirectory = fmt.Sprint(tree, round), fmt.Sprint(work, round)
		makeEmpty(t, req.Target, req.WorkDirectory)
		var recorder *sdktest.Recorder
		var err error
		facts, recorder, err = bootstrap(t, req)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		checkTree(t, req, facts)
		checkReport(t, recorder)
		indexes, packages := downloads(recorder)
		t.Logf("round %d: %d indexes and %d packages", round, len(indexes), len(packages))
		switch {
		case round == 0 && len(packages) < 100:
			t.Errorf("only %d packages were downloaded", len(packages))
		case round == 0:
			alterBlobOf(t, req.CacheDirectory, "iproute2")
		case len(indexes) > 0:
			t.Errorf("indexes were downloaded again: %q", indexes)
		case len(packages) == 0 || slices.ContainsFunc(packages, func(line string) bool { return !strings.Contains(line, "iproute2") }):
			t.Errorf("one package was altered, iproute2, but these were downloaded: %q", packages)
		}
	}
	return facts
}

// alterBlobOf changes a byte of a package in the cache, keeping its size: what
// apt would not notice.
func alterBlobOf(t *testing.T, cache, name string) {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(cache, "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, blob := range blobs {
		out, err := exec.Command("dpkg-deb", "-f", blob, "Package").Output()
		if err != nil || strings.TrimSpace(string(out)) != name {
			continue
		}
		text, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(blob, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%s is not in the cache", name)
}

// TestJobsAtTheSameTimeShareTheCache makes two trees below directories that
// everybody may search, unlike those of the others: apt then has to fetch
// packages without privileges.
func TestJobsAtTheSameTimeShareTheCache(t *testing.T) {
	t.Parallel()
	sdktest.NeedTools(t, engineMmdebstrap)
	var jobs sync.WaitGroup
	client := sdktest.Start(t, newPlugin())
	base := request(t, "debian", "trixie")
	ownCache(t, &base)
	for i := range 2 {
		req := base
		req.JobID, req.Target, req.WorkDirectory = fmt.Sprint(req.JobID, i), fmt.Sprint(req.Target, i), fmt.Sprint(req.WorkDirectory, i)
		makeEmpty(t, req.Target, req.WorkDirectory)
		for directory := req.Target; directory != filepath.Dir(sdktest.Scratch()); directory = filepath.Dir(directory) {
			if err := os.Chmod(directory, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		jobs.Go(func() {
			var recorder sdktest.Recorder
			facts, err := client.Bootstrap(context.Background(), req, &recorder)
			if err != nil {
				t.Errorf("%v\n%s", err, strings.Join(recorder.Lines(), "\n"))
				return
			}
			if warnings := recorder.Warnings(); len(warnings) > 0 {
				t.Errorf("there are warnings: %q", warnings)
			}
			for _, line := range recorder.Lines() {
				if strings.Contains(line, "unsandboxed") {
					t.Error(line)
				}
			}
			if len(facts.Packages) < 100 {
				t.Errorf("there are only %d packages", len(facts.Packages))
			}
		})
	}
	jobs.Wait()
}
