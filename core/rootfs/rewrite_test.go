package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestReplaceFileKeepsGroupAndMode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files away")
	}
	dir := t.TempDir()
	shadow := filepath.Join(dir, "shadow")
	if err := os.WriteFile(shadow, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chown(shadow, 0, 42), os.Chmod(shadow, 0o640)); err != nil {
		t.Fatal(err)
	}
	tree, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.ReplaceFile("shadow", []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(shadow)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid != 0 || st.Gid != 42 || info.Mode().Perm() != 0o640 {
		t.Errorf("shadow is %v %+v, want 0640 of 0:42", info.Mode(), info.Sys())
	}
	if data, _ := os.ReadFile(shadow); string(data) != "new" {
		t.Errorf("shadow holds %q", data)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("something was left behind: %v", left)
	}
}

func TestReplaceFileNeverWritesThroughALink(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(outside, []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "shadow")); err != nil {
		t.Fatal(err)
	}
	tree, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.ReplaceFile("shadow", []byte("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReplaceFile through a link out of the tree: %v, want that nothing is there", err)
	}
	if data, _ := os.ReadFile(outside); string(data) != "host" {
		t.Errorf("the host's file holds %q", data)
	}
}
