package stages

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

func openDir(t *testing.T, dir string) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

func TestOnlyAnIDThatIsNotOneIsSettled(t *testing.T) {
	for have, keeps := range map[string]bool{"uninitialized\n": false, "": false, "0123456789abcdef0123456789abcdef\n": true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "etc/machine-id")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(have), 0o444); err != nil {
			t.Fatal(err)
		}
		if err := settleMachineID(openDir(t, dir)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || (string(got) == have) != keeps || !regexp.MustCompile(`^[0-9a-f]{32}\n$`).Match(got) {
			t.Errorf("%q became %q, %v", have, got, err)
		}
	}
}

func TestWhatABindIsMountedOnIsMadeInsideTheTree(t *testing.T) {
	dir, outside, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil { // as a package may have left it
		t.Fatal(err)
	}
	tree := openDir(t, dir)
	for target, source := range map[string]string{"/srv/a/b": outside, "/mnt/c/file": file, "/out/d": outside, "/out/e": file} {
		for range 2 { // the second time it is there
			if err := mountPoint(tree, binding{Bind: unitfile.Bind{Source: source, Target: target}}); err != nil {
				t.Errorf("%s: %v", target, err)
			}
		}
		if _, err := tree.Stat(target); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside of the tree there are %v, %v", left, err)
	}
}

func TestOnlyCopiesOfThisTreeAreCleared(t *testing.T) {
	dir := t.TempDir()
	gone := []string{".#machine.box0123456789abcdef", ".#.#machine.box0123456789abcdef.lck", ".#snapshot.boxfedcba9876543210"}
	kept := []string{
		"box", ".#machine.boxx0123456789abcdef", ".#machine.box0123456789abcde", ".#machine.box0123456789ABCDEF",
		".#machine.box0123456789abcdef0123456789abcdef", "machine.box0123456789abcdef", ".#machine.0123456789abcdef",
	}
	for _, name := range append(kept, gone[0], gone[2]) {
		if err := os.MkdirAll(filepath.Join(dir, name, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, gone[1]), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeSnapshots(context.Background(), filepath.Join(dir, "box")); err != nil {
		t.Fatal(err)
	}
	for _, name := range gone {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is there still", name)
		}
	}
	for _, name := range kept {
		if _, err := os.Lstat(filepath.Join(dir, name, "etc")); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
	if err := removeSnapshots(context.Background(), filepath.Join(dir, "none/box")); err != nil {
		t.Errorf("where nothing is there is nothing to clear: %v", err)
	}
}
