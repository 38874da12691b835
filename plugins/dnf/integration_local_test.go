//go:build integration

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// TestAMachineIsMade also makes one again out of the cache alone, as far as a
// mirror whose packages are gone can show it.
func TestAMachineIsMade(t *testing.T) {
	repository := testrepo.Fedora(t)
	req := request(t, repository)
	req.Mirrors = []string{repository.Serve(t)}
	req.Packages = []string{testrepo.ExtraPackage}
	facts, recorder, err := bootstrap(t, req)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	checkTree(t, req, facts)
	checkReport(t, recorder.Warnings(), recorder.Phases())
	if !slices.ContainsFunc(facts.Packages, func(p sdk.Package) bool { return p.Name == testrepo.ExtraPackage }) {
		t.Errorf("%s is not among the packages", testrepo.ExtraPackage)
	}
	if n := fetchedPackages(recorder.Lines()); n != len(facts.Packages) {
		t.Errorf("%d packages were fetched, want %d", n, len(facts.Packages))
	}

	spoilCache(t, req.CacheDirectory)
	makeEmpty(t, req.Target, req.WorkDirectory)
	again, recorder, err := bootstrap(t, req)
	if err != nil {
		t.Fatalf("from the cache: %+v", err)
	}
	checkTree(t, req, again)
	if n := fetchedPackages(recorder.Lines()); n != 1 {
		t.Errorf("%d packages were fetched although the cache had all but one", n)
	}
	if diff := cmp.Diff(facts, again); diff != "" {
		t.Errorf("the machines differ (-first +second):\n%s", diff)
	}
}

// fetchedPackages counts the packages that dnf says it has fetched.
func fetchedPackages(lines []string) int {
	names := map[string]bool{}
	for _, line := range lines {
		if m := fetched.FindStringSubmatch(line); m != nil && m[3]+m[6] != "Total" {
			names[m[3]+m[6]] = true
		} else if name, _, ok := strings.Cut(line, ".rpm "); ok {
			names[name] = true // a single one is not numbered
		}
	}
	return len(names)
}

// spoilCache alters one package in the cache, the largest.
func spoilCache(t *testing.T, cache string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cache, "files", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the cache has no files, %v", err)
	}
	size := func(file string) int64 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	largest := slices.MaxFunc(files, func(a, b string) int { return int(size(a) - size(b)) })
	if err := os.Truncate(largest, size(largest)-1); err != nil {
		t.Fatal(err)
	}
}

func checkReport(t *testing.T, warnings, phases []string) {
	t.Helper()
	if len(warnings) != 0 {
		t.Errorf("there are warnings: %q", warnings)
	}
	want := []string{phaseIndex, phaseDownload, phaseInstall, phaseVerify, phaseTidy}
	if diff := cmp.Diff(want, phases); diff != "" {
		t.Errorf("phases differ (-want +got):\n%s", diff)
	}
}
