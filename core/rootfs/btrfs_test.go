//go:build integration

package rootfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// onBtrfs mounts an empty btrfs and returns where. It needs privateMounts.
func onBtrfs(t *testing.T) (dir, image string) {
	t.Helper()
	for _, tool := range []string{"mkfs.btrfs", "btrfs", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool)
		}
	}
	image = filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 256<<20))
	tool(t, "mkfs.btrfs", "-q", image)
	dir = t.TempDir()
	tool(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { tool(t, "umount", dir) })
	return dir, image
}

func tool(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}

func TestBtrfs(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	dir, image := onBtrfs(t)
	path := filepath.Join(dir, "machine")
	clone := filepath.Join(dir, "clone")
	tool(t, "btrfs", "subvolume", "create", path)
	plant(t, path, 200)
	tool(t, "btrfs", "subvolume", "snapshot", path, clone)

	origin, copied := identityOf(t, path), identityOf(t, clone)
	if origin.Ino != copied.Ino || origin.Btime != copied.Btime {
		t.Logf("a snapshot can be told from its origin by %v and %v", origin, copied)
	}
	if origin == copied {
		t.Errorf("%v is a snapshot as well as its origin", origin)
	}
	if err := RemoveTree(t.Context(), clone, origin); !errors.Is(err, ErrNotOurs) {
		t.Errorf("removing the clone as if it were the origin: %v", err)
	}
	tool(t, "umount", dir)
	tool(t, "mount", "-o", "loop", image, dir)
	if again := identityOf(t, path); again != origin {
		t.Errorf("%v became %v by mounting anew", origin, again)
	}

	// Machines make subvolumes of their own: systemd does for /var/lib/machines.
	must(t, os.MkdirAll(filepath.Join(path, "var/lib"), 0o755))
	tool(t, "btrfs", "subvolume", "create", filepath.Join(path, "var/lib/machines"))
	plant(t, filepath.Join(path, "var/lib/machines"), 200)
	tool(t, "btrfs", "subvolume", "create", filepath.Join(path, "var/lib/machines/nested"))
	tool(t, "btrfs", "subvolume", "snapshot", "-r", clone, filepath.Join(path, "snapshot"))
	before := fingerprint(t, clone)
	must(t, RemoveTree(t.Context(), path, origin))
	if after := fingerprint(t, clone); len(after) != len(before) {
		t.Errorf("the clone had %d files and has %d", len(before), len(after))
	}
	must(t, RemoveTree(t.Context(), clone, copied))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
