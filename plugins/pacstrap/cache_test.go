package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func opened(t *testing.T, root string) *packageCache {
	t.Helper()
	c, err := openPackageCache(root)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyWhatWasDownloadedWholeIsKept(t *testing.T) {
	root := t.TempDir()
	c := opened(t, root)
	if c.used() {
		t.Error("an empty cache is said to be used")
	}
	for name, content := range map[string]string{
		"bash-5.2-1-x86_64.pkg.tar.zst": "new", "bash-5.2-1-x86_64.pkg.tar.zst.sig": "sig", "git-1:2-1-any.pkg.tar.xz": "new",
		"less-1-1-any.pkg.tar.zst.part": "half", "download-abc/vim-1-1-any.pkg.tar.zst": "half", "core.db": "index", ".hidden.pkg.tar.zst": "x",
	} {
		write(t, filepath.Join(c.own, name), content)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"pkg/bash-5.2-1-x86_64.pkg.tar.zst": "new", "pkg/bash-5.2-1-x86_64.pkg.tar.zst.sig": "sig", "pkg/git-1:2-1-any.pkg.tar.xz": "new",
	}
	if diff := cmp.Diff(want, sdktest.Planted(t, root)); diff != "" {
		t.Errorf("the cache differs (-want +got):\n%s", diff)
	}
	again := opened(t, root)
	defer again.close() //nolint:errcheck // it is removed with the test
	if !again.used() {
		t.Error("a cache with packages is said to be empty")
	}
}

func TestOfAKilledJobOnlyWholePackagesStay(t *testing.T) {
	root := t.TempDir()
	alive, killed := opened(t, root), opened(t, root)
	write(t, filepath.Join(alive.own, "a-1-1-any.pkg.tar.zst.part"), "half")
	write(t, filepath.Join(killed.own, "b-1-1-any.pkg.tar.zst.part"), "half")
	write(t, filepath.Join(killed.own, "c-1-1-any.pkg.tar.zst"), "whole")
	if err := killed.lock.Close(); err != nil { // as the kernel does it
		t.Fatal(err)
	}
	next := opened(t, root)
	if _, err := os.Stat(filepath.Join(next.shared(), "c-1-1-any.pkg.tar.zst")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(killed.own); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of the killed job: %v", err)
	}
	if _, err := os.Stat(filepath.Join(alive.own, "a-1-1-any.pkg.tar.zst.part")); err != nil {
		t.Errorf("what a running job downloads: %v", err)
	}
	if err := errors.Join(alive.close(), next.close()); err != nil {
		t.Error(err)
	}
}

func TestTheCacheIsOnlyBlamedForWhatCameOutOfIt(t *testing.T) {
	c := &packageCache{root: "/srv/cache", own: "/srv/cache/downloads/job-1"}
	for name, want := range map[string]bool{
		"/srv/cache/pkg/bash-1-1-any.pkg.tar.zst": true, "/srv/cache/downloads/job-1/bash-1-1-any.pkg.tar.zst": false,
	} {
		err := &sdk.Failure{Code: sdk.CodeVerification, Tail: []string{":: File " + name + " is corrupted (x)."}}
		if got := c.isBlamed(err); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if c.isBlamed(nil) || c.isBlamed(errors.New("x")) || c.isBlamed(&sdk.Failure{Code: sdk.CodeMirror}) {
		t.Error("it is blamed for something else")
	}
}

func TestAKeyringOutOfTheCacheIsWhole(t *testing.T) {
	from := t.TempDir()
	files := map[string]string{"gpg.conf": "conf", "pubring.gpg": strings.Repeat("k", 100_000), "trustdb.gpg": "trust"}
	for name, content := range files {
		write(t, filepath.Join(from, name), content)
	}
	write(t, filepath.Join(from, "private-keys-v1.d/a.key"), "secret")
	cache := keyringCache{filepath.Join(t.TempDir(), "keyring")}
	if err := cache.restore("digest", filepath.Join(t.TempDir(), "to")); !errors.Is(err, errNotKept) {
		t.Errorf("out of an empty cache comes %v", err)
	}
	if err := cache.keep("digest", from); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "to")
	if err := cache.restore("digest", to); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, sdktest.Planted(t, to)); diff != "" {
		t.Errorf("the keyring differs, or has a secret key (-want +got):\n%s", diff)
	}
	kept := filepath.Join(cache.directory, "digest")
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	altered := []byte(string(text))
	altered[len(altered)/2] ^= 1
	for name, spoil := range map[string]func() error{
		"truncated":      func() error { return os.WriteFile(kept, text[:len(text)-700], 0o600) },
		"altered":        func() error { return os.WriteFile(kept, altered, 0o600) },
		"empty":          func() error { return os.WriteFile(kept, nil, 0o600) },
		"others may":     func() error { return errors.Join(os.WriteFile(kept, text, 0o600), os.Chmod(kept, 0o620)) },
		"a link":         func() error { return errors.Join(os.Remove(kept), os.Symlink(filepath.Join(from, "gpg.conf"), kept)) },
		"not there":      func() error { return os.RemoveAll(kept) },
		"is a directory": func() error { return errors.Join(os.RemoveAll(kept), os.Mkdir(kept, 0o700)) },
	} {
		if err := os.RemoveAll(kept); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(kept, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := cache.restore("digest", filepath.Join(t.TempDir(), "to")); err == nil {
			t.Errorf("%s: it is used", name)
		}
	}
}
