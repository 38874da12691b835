package rootfs

import (
	"os"
	"path/filepath"
	"testing"
)

func TestATreeIsAsLargeAsItsFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a/b/file"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "a/b/file"), filepath.Join(dir, "a/again")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	tree, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	if got, err := tree.Size(); err != nil || got < 1<<20 || got > 1<<20+64<<10 {
		t.Errorf("it takes %d bytes, %v", got, err)
	}
}
