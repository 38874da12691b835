package sdktest

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Plant makes a tree of files and returns its path. The keys are names relative
// to it; a content that begins with -> is a link to what follows.
func Plant(t testing.TB, files map[string]string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Planted lists the files and links below root, in the form that Plant takes.
func Planted(t testing.TB, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			found[name] = "->" + to
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // G122: a tree that the test has made
		found[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// AsRoot ends a test that is not run by root: a skip on somebody's desk, a
// failure where CI=true says that all is tested.
func AsRoot(t testing.TB) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("CI=true, and yet this is not run by root")
	default:
		t.Skip("this test needs root")
	}
}

// NeedTools ends a test, in the same way, on a host that lacks a program.
func NeedTools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		switch {
		case sdk.FindTool(name) != "":
		case os.Getenv("CI") == "true":
			t.Fatalf("CI=true, and yet %s is not installed", name)
		default:
			t.Skipf("%s is not installed", name)
		}
	}
}
