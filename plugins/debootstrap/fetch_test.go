package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/blobs"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// withCache is a run in a tree that has files, and a cache that holds text.
func withCache(t *testing.T, files map[string]string, text string) (*run, download) {
	t.Helper()
	r, _ := runIn(t, sdktest.Plant(t, files), sdk.Request{Distro: "debian", Release: "trixie"})
	store, err := blobs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(t.TempDir(), "x.deb")
	if err := os.WriteFile(from, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	digest, err := store.Put(from, "")
	if err != nil {
		t.Fatal(err)
	}
	r.blobs = &store
	return r, download{name: "x_1_all.deb", digest: digest}
}

func TestPackagesComeOutOfTheCache(t *testing.T) {
	place := archivesDirectory + "/x_1_all.deb"
	for name, files := range map[string]map[string]string{
		"where there is none":     {archivesDirectory + "/lock": ""},
		"in place of another one": {place: "another"},
		"in place of a link":      {place: "->/etc/passwd"},
	} {
		t.Run(name, func(t *testing.T) {
			r, file := withCache(t, files, "a package")
			complete, err := r.takeFromCache([]download{file})
			if err != nil || !complete {
				t.Errorf("complete: %v, %v", complete, err)
			}
			if got := sdktest.Planted(t, r.target)[place]; got != "a package" {
				t.Errorf("there is now %q", got)
			}
			absent := download{name: "y_1_all.deb", digest: file.digest[:63] + "x"}
			if _, err := r.takeFromCache([]download{absent}); err == nil {
				t.Error("what is no digest was looked up")
			}
			absent.digest = "0000000000000000000000000000000000000000000000000000000000000000"
			if complete, err := r.takeFromCache([]download{file, absent}); complete || err != nil {
				t.Errorf("with one that is not there, complete: %v, %v", complete, err)
			}
		})
	}
}

func TestNothingIsCompleteWithoutACacheOrAList(t *testing.T) {
	r, file := withCache(t, map[string]string{archivesDirectory + "/lock": ""}, "a package")
	if complete, err := r.takeFromCache(nil); complete || err != nil {
		t.Errorf("of no packages, complete: %v, %v", complete, err)
	}
	r.blobs = nil
	if complete, err := r.takeFromCache([]download{file}); complete || err != nil {
		t.Errorf("without a cache, complete: %v, %v", complete, err)
	}
}

func TestTheCacheIsNeverCopiedOutOfTheTree(t *testing.T) {
	outside := t.TempDir()
	r, file := withCache(t, map[string]string{archivesDirectory: "->" + outside}, "a package")
	if complete, err := r.takeFromCache([]download{file}); err == nil {
		t.Errorf("the link was followed, complete: %v", complete)
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 0 {
		t.Errorf("outside there is now %v, %v", entries, err)
	}
}

func TestIndexesAreSharedOnlyByJobsThatTrustTheSame(t *testing.T) {
	keys := map[string]string{}
	for name, req := range map[string]sdk.Request{
		"trixie":     {Distro: "debian", Release: "trixie"},
		"bookworm":   {Distro: "debian", Release: "bookworm"},
		"components": {Distro: "debian", Release: "trixie", Options: option(optionComponents, "main,contrib")},
		"mirror":     {Distro: "debian", Release: "trixie", Mirrors: []string{"http://a.example.org/debian"}},
		"keyring":    {Distro: "debian", Release: "trixie", Keyring: "/etc/keys/own.asc"},
		"engine":     {Distro: "debian", Release: "trixie", Options: option(optionEngine, engineDebootstrap)},
		"i386":       {Distro: "debian", Release: "trixie", Architecture: "i686"},
	} {
		r, a := runIn(t, sdktest.Plant(t, nil), req)
		key := r.indexKey(a)
		if other, there := keys[key]; there {
			t.Errorf("%s shares its indexes with %s", name, other)
		}
		keys[key] = name
		again, b := runIn(t, sdktest.Plant(t, nil), req)
		if again.indexKey(b) != key {
			t.Errorf("%s does not find its own indexes", name)
		}
	}
}
