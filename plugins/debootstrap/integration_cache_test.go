//go:build integration

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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

func TestTheSecondTimeNothingIsDownloaded(t *testing.T) {
	for _, engine := range []string{engineMmdebstrap, engineDebootstrap} {
		t.Run(engine, func(t *testing.T) {
			need(t, engine)
			for round := range 3 {
				req := request(t, "debian", "trixie")
				req.Target, req.WorkDirectory = fmt.Sprint(req.Target, round), fmt.Sprint(req.WorkDirectory, round)
				makeEmpty(t, req.Target, req.WorkDirectory)
				req.Options[optionEngine] = engine
				begin := time.Now()
				_, recorder, err := bootstrap(t, req)
				if err != nil {
					t.Fatalf("%+v", err)
				}
				indexes, packages := downloads(recorder)
				t.Logf("round %d: %d indexes and %d packages in %s", round, len(indexes), len(packages), time.Since(begin))
				switch {
				case round == 0 && len(packages) < 100:
					t.Errorf("only %d packages were downloaded", len(packages))
				case round == 1 && len(indexes)+len(packages) > 0:
					t.Errorf("downloaded again: %q %q", indexes, packages)
				case round == 2 && (len(packages) == 0 || len(packages) > 3):
					t.Errorf("one package was altered, but these were downloaded: %q", packages)
				}
				if round == 1 {
					alterBlobOf(t, req.CacheDirectory, "iproute2")
				}
				if err := os.RemoveAll(req.Target); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
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

func TestJobsAtTheSameTimeShareTheCache(t *testing.T) {
	need(t, engineMmdebstrap)
	var jobs sync.WaitGroup
	client := sdktest.Start(t, newPlugin())
	for i := range 2 {
		req := request(t, "debian", "trixie")
		req.JobID, req.Target, req.WorkDirectory = fmt.Sprint(req.JobID, i), fmt.Sprint(req.Target, i), fmt.Sprint(req.WorkDirectory, i)
		makeEmpty(t, req.Target, req.WorkDirectory)
		jobs.Go(func() {
			var recorder sdktest.Recorder
			if _, err := client.Bootstrap(context.Background(), req, &recorder); err != nil {
				t.Errorf("%v\n%s", err, strings.Join(recorder.Lines(), "\n"))
			}
			if warnings := recorder.Warnings(); len(warnings) > 0 {
				t.Errorf("there are warnings: %q", warnings)
			}
		})
	}
	jobs.Wait()
}
