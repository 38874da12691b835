//go:build integration

package rootfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// worldIn is newWorld in a directory on another file system.
func worldIn(t *testing.T, dir string) world {
	t.Helper()
	w := world{path: filepath.Join(dir, "machine"), outside: filepath.Join(dir, "outside")}
	must(t, MakeRoot(w.path))
	for _, d := range []string{"machine/etc", "machine/usr/lib", "machine/root", "machine/run", "outside"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	w.tree = open(t, w.path)
	t.Cleanup(func() { _ = w.tree.Close() }) // a test may have closed it
	return w
}

func TestOnBtrfsAMachineIsASubvolumeAndACloneASnapshot(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	dir, _ := onBtrfs(t)
	w := worldIn(t, dir)
	w.furnish(t, 0)
	id, err := w.tree.Identity()
	must(t, err)
	if id.Subvolume == "" {
		t.Fatal("the root is no subvolume")
	}
	// systemd makes these two in every machine that is a subvolume.
	for _, nested := range []string{"var/lib/machines", "var/lib/portables"} {
		must(t, os.MkdirAll(w.in("var/lib"), 0o755))
		tool(t, "btrfs", "subvolume", "create", w.in(nested))
	}
	plant(t, w.in("var/lib/machines/one"), 100)
	tool(t, "btrfs", "subvolume", "create", w.in("var/lib/machines/one/deeper"))
	plant(t, w.in("var/lib/machines/one/deeper/still"), 10)
	must(t, os.Chmod(w.in("var/lib/portables"), 0o700))
	must(t, os.Remove(w.in("run/socket"))) // which a snapshot has

	if !w.tree.Snapshots(dir) || !w.tree.Snapshots(filepath.Join(dir, "not", "there", "yet")) {
		t.Error("it does not say that a snapshot can be made")
	}
	if w.tree.Snapshots(t.TempDir()) {
		t.Error("it says that a snapshot can be made on another file system")
	}
	before := portrait(t, w.path)
	to, way := w.cloned(t, CloneOptions{InUse: true})
	if way != Snapshot {
		t.Errorf("it was made by %s", way)
	}
	if diff := cmp.Diff(before, portrait(t, to)); diff != "" {
		t.Errorf("the clone differs (-origin +clone):\n%s", diff)
	}
	// Each is whole without the other.
	must(t, os.WriteFile(filepath.Join(to, "var/lib/machines/one/new"), nil, 0o600))
	if diff := cmp.Diff(before, portrait(t, w.path)); diff != "" {
		t.Errorf("the origin has changed (-before +after):\n%s", diff)
	}
	clone := identityOf(t, to)
	if clone == id {
		t.Errorf("both are %v", id)
	}
	must(t, RemoveTree(t.Context(), to, clone))
	if diff := cmp.Diff(before, portrait(t, w.path)); diff != "" {
		t.Errorf("the origin has changed with the removal of the clone (-before +after):\n%s", diff)
	}

	// What belongs to a range of users of its own is no snapshot.
	must(t, os.Chown(w.path, userRange, userRange))
	if w.tree.Snapshots(dir) {
		t.Error("it says that there can be a snapshot of a shifted tree")
	}
	to, way = w.cloned(t, CloneOptions{})
	if way != Reflink {
		t.Errorf("a shifted tree was cloned by %s", way)
	}
	if owner(t, to) == owner(t, w.path) {
		t.Errorf("the clone belongs to %s", owner(t, to))
	}
}

// A file system without subvolumes may still share what is in files.
func TestFilesAreSharedWhereTheyCanBe(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	for _, kind := range []string{"btrfs", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			if kind == "btrfs" {
				dir, _ = onBtrfs(t)
			} else {
				onXFS(t, dir)
			}
			w := worldIn(t, dir)
			must(t, os.Remove(w.in("etc")))
			must(t, os.RemoveAll(w.path))
			must(t, os.MkdirAll(w.in("etc"), 0o755)) // a plain directory
			for _, d := range []string{"usr/lib", "run"} {
				must(t, os.MkdirAll(w.in(d), 0o755))
			}
			must(t, w.tree.Close())
			w.tree = open(t, w.path)
			w.furnish(t, 0)
			before := portrait(t, w.path)
			free := freeOn(t, dir)
			must(t, os.WriteFile(w.in("usr/lib/huge"), make([]byte, 0), 0o644))
			tool(t, "dd", "if=/dev/urandom", "of="+w.in("usr/lib/huge"), "bs=1M", "count=60", "status=none", "conv=fsync")
			before["usr/lib/huge"] = portrait(t, w.path)["usr/lib/huge"]
			before["usr/lib"] = portrait(t, w.path)["usr/lib"]
			taken := free - freeOn(t, dir)
			to, way := w.cloned(t, CloneOptions{})
			if way != Reflink {
				t.Errorf("it was made by %s", way)
			}
			if diff := cmp.Diff(before, portrait(t, to)); diff != "" {
				t.Errorf("the clone differs (-origin +clone):\n%s", diff)
			}
			unix.Sync()
			if now := free - freeOn(t, dir); now > taken+20<<20 {
				t.Errorf("the origin takes %d bytes, and with the clone %d", taken, now)
			}
			if _, err := w.tree.Clone(t.Context(), to+"2", CloneOptions{InUse: true}); !errors.Is(err, ErrInUse) {
				t.Errorf("in use: %v", err)
			}
		})
	}
}

func onXFS(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"mkfs.xfs", "mount"} {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, name)
		}
	}
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 512<<20))
	tool(t, "mkfs.xfs", "-q", "-m", "reflink=1", image)
	tool(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { tool(t, "umount", dir) })
}

func freeOn(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	return int64(st.Bfree) * st.Bsize
}
