package rootfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile/step"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// TestATreeIsOnDiskBeforeItHasItsName sees in which order publishing goes, and
// that nothing has the name when the disk fails before that.
func TestATreeIsOnDiskBeforeItHasItsName(t *testing.T) {
	above := t.TempDir()
	staging, dest := filepath.Join(above, "hidden", "root"), filepath.Join(above, "box")
	if err := os.MkdirAll(staging, 0o755); err != nil {
		t.Fatal(err)
	}
	var steps []string
	stop := step.Watch(func(s, path string) error {
		steps = append(steps, s+" "+strings.TrimPrefix(path, above))
		if s == step.Tree && len(steps) == 1 {
			return unix.EIO
		}
		return nil
	})
	defer stop()
	if err := rootfs.Publish(staging, dest); err == nil {
		t.Fatal("that the disk fails is not said")
	}
	if _, err := os.Lstat(dest); err == nil {
		t.Error("a tree that is not on disk has its name")
	}
	steps = append(steps[:0], "")
	if err := rootfs.Publish(staging, dest); err != nil {
		t.Fatal(err)
	}
	want := []string{"sync tree /hidden/root", "rename /box", "sync names ", "sync names /hidden"}
	if diff := cmp.Diff(want, steps[1:]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
