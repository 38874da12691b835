//go:build integration

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
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
	var fetched atomic.Int64
	if repository.Dir == "" {
		t.Skip("what a real mirror is asked for cannot be counted")
	}
	req.Mirrors = []string{counting(t, repository, &fetched)}
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
	if n := int(fetched.Swap(0)); n != len(facts.Packages) {
		t.Errorf("%d packages were fetched, want %d", n, len(facts.Packages))
	}

	spoilCache(t, req.CacheDirectory)
	makeEmpty(t, req.Target, req.WorkDirectory)
	again, _, err := bootstrap(t, req)
	if err != nil {
		t.Fatalf("from the cache: %+v", err)
	}
	checkTree(t, req, again)
	if n := fetched.Load(); n != 1 {
		t.Errorf("%d packages were fetched although the cache had all but one", n)
	}
	if diff := cmp.Diff(facts, again); diff != "" {
		t.Errorf("the machines differ (-first +second):\n%s", diff)
	}
}

// counting serves a repository and counts the packages that are asked for.
func counting(t *testing.T, repository *testrepo.Repo, packages *atomic.Int64) string {
	t.Helper()
	files := http.FileServer(http.Dir(repository.Dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".rpm") {
			packages.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/$releasever/$basearch"
}

// spoilCache alters one package in the cache, the largest.
func spoilCache(t *testing.T, cache string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cache, "sha256", "*"))
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
