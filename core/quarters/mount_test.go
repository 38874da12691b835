package quarters

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// TestNothingIsRemovedAcrossAMount runs itself in a mount namespace of its own.
func TestNothingIsRemovedAcrossAMount(t *testing.T) {
	const inside = "NSPAWN_BUILD_TEST_MOUNTS"
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	if os.Getenv(inside) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNothingIsRemovedAcrossAMount$")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	runtime := shortDir(t)
	mounted := func(dir string) string {
		must(t, os.MkdirAll(dir, 0o700))
		must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700"))
		t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
		precious := filepath.Join(dir, "precious")
		must(t, os.WriteFile(precious, nil, 0o600))
		return precious
	}
	mine, err := plugins.Take(runtime)
	must(t, err)
	within := mounted(filepath.Join(mine.Dir, "deep", "down"))
	if err := mine.Leave(); !errors.Is(err, rootfs.ErrMounted) {
		t.Errorf("it was left: %v", err)
	}
	over := mounted(filepath.Join(runtime, plugins.Prefix+"over"))
	plugins.Sweep(runtime)
	if err := Remove(t.Context(), filepath.Dir(over)); !errors.Is(err, rootfs.ErrMounted) {
		t.Errorf("it was removed: %v", err)
	}
	for _, path := range []string{within, over} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestOnlyADirectoryIsRemoved(t *testing.T) {
	dir := shortDir(t)
	target, file, link := filepath.Join(dir, "target"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	must(t, os.MkdirAll(target+"/in/it", 0o700))
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Symlink(target, link))
	for _, path := range []string{file, link} {
		if err := Remove(t.Context(), path); err == nil {
			t.Errorf("%s was removed", path)
		}
	}
	must(t, Remove(t.Context(), filepath.Join(dir, "nothing")))
	if _, err := os.Stat(target + "/in/it"); err != nil {
		t.Error(err)
	}
	must(t, Remove(t.Context(), target))
	if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
