package leftover

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWhatIsNotThereNeedNotBeRemoved(t *testing.T) {
	if err := remove(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Error(err)
	}
}

func TestPlainDirectoryIsRemovedOnlyWhenEmpty(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "something"), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		t.Skip("unmounting needs root")
	}
	if err := remove(full); err == nil {
		t.Error("a directory with something in it was removed")
	}
	if _, err := os.Stat(filepath.Join(full, "something")); err != nil {
		t.Error(err)
	}
}

// TestStackedMountsAreAllRemoved runs itself in a mount namespace of its own.
func TestStackedMountsAreAllRemoved(t *testing.T) {
	const inside = "NSPAWN_BUILD_TEST_MOUNTS"
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	if os.Getenv(inside) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestStackedMountsAreAllRemoved$")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "export")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := syscall.Mount("tmpfs", path, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "socket"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
