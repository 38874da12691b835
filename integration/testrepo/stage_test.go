package testrepo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func modeOf(t *testing.T, dir, name string) string {
	t.Helper()
	info, err := os.Lstat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().String()
}

// aTree makes files, each of which says its own name.
func aTree(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := (entry{path: name, text: name, mode: 0o644}).put(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSbinIsMergedIntoBin(t *testing.T) {
	dir := t.TempDir()
	aTree(t, dir, "usr/sbin/a", "usr/sbin/b", "usr/bin/b")
	if err := mergeSbin(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"usr/bin/a": "usr/sbin/a", "usr/bin/b": "usr/bin/b"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); string(text) != want {
			t.Errorf("%s is %q, %v", name, text, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "usr/sbin")); !os.IsNotExist(err) {
		t.Errorf("usr/sbin is still there: %v", err)
	}
}

func TestAFileOfTwoPackagesIsRefused(t *testing.T) {
	dir := t.TempDir()
	aTree(t, dir, "one/usr/a", "two/usr/b", "one/.INSTALL", "two/.INSTALL")
	packs := []*pack{{rule: rule{Package: "one"}}, {rule: rule{Package: "two"}}}
	if err := noConflicts(dir, packs); err != nil {
		t.Error(err)
	}
	aTree(t, dir, "two/usr/a")
	if err := noConflicts(dir, packs); err == nil || !strings.Contains(err.Error(), "both one and two have usr/a") {
		t.Errorf("got %v", err)
	}
}

func TestAKilledBuildLeavesNoResult(t *testing.T) {
	t.Setenv("NSPAWN_BUILD_TEST_CACHE", t.TempDir())
	var built string
	first := func(dir string) error {
		built = dir
		aTree(t, dir, "half")
		return os.ErrDeadlineExceeded
	}
	if _, err := cached(t.Context(), "kind", nil, first); err == nil {
		t.Error("a failed build succeeded")
	}
	// What a killed one leaves is there when the next begins.
	aTree(t, built, "half")
	path, err := cached(t.Context(), "kind", nil, func(dir string) error {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("the build begins with %v, %v", entries, err)
		}
		aTree(t, dir, "whole")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := cached(t.Context(), "kind", nil, func(string) error { t.Error("built again"); return nil })
	if err != nil || again != path {
		t.Errorf("%s, then %s, %v", path, again, err)
	}
	if _, err := os.Stat(filepath.Join(path, "whole")); err != nil {
		t.Error(err)
	}
}
