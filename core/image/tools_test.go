package image_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/image"
)

func mknodDisk(name string) error { return unix.Mknod(name, unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0))) }

func run(t testing.TB, dir, program string, arguments ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, arguments...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}

// What makes ext4 from a tar is ours to answer for, so the file system's own
// checker has to find it sound, and with room.
func TestARawImageHoldsASoundFileSystemWithRoom(t *testing.T) {
	needs(t, image.Raw)
	dir := t.TempDir()
	a, err := image.Write(t.Context(), open(t, planted(t, t.TempDir(), 1)), image.Raw, filepath.Join(dir, "disk"), options())
	must(t, err)
	run(t, dir, "dd", "if=disk", "of=root", "bs=1M", "skip=1", "conv=sparse", "status=none")
	run(t, dir, "e2fsck", "-fn", "root")
	head := run(t, dir, "dumpe2fs", "-h", "root")
	for _, want := range []string{"has_journal", "Filesystem state:         clean", "Filesystem volume name:   root"} {
		if !strings.Contains(head, want) {
			t.Errorf("it does not say %q:\n%s", want, head)
		}
	}
	if strings.Contains(head, "read-only") {
		t.Error("it is read-only")
	}
	info, err := os.Stat(a.Path)
	must(t, err)
	if info.Size() < 1<<30 || info.Sys() == nil {
		t.Errorf("it has %d bytes", info.Size())
	}
	if _, err := image.Write(t.Context(), open(t, planted(t, t.TempDir(), 1)), image.Raw, filepath.Join(dir, "other"), image.Options{Arch: "vax"}); err == nil || !strings.Contains(err.Error(), `architecture: "vax"`) {
		t.Errorf("for an unknown architecture it says %v", err)
	}
}
