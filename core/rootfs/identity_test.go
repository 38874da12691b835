package rootfs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestIdentitySurvivesRenameAndUse(t *testing.T) {
	w := newWorld(t)
	before, err := w.tree.Identity()
	must(t, err)
	if before.Ino == 0 || before.Btime == 0 {
		t.Fatalf("%v tells little", before)
	}
	must(t, w.tree.WriteFile("file", nil, 0o600))
	must(t, os.Chmod(w.path, 0o711))
	must(t, os.Rename(w.path, w.path+".renamed"))
	if after := identityOf(t, w.path+".renamed"); after != before {
		t.Errorf("%v became %v", before, after)
	}
}

func TestIdentityHoldsTheTimeOfBirth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine")
	before := time.Now().Add(-time.Second) // the kernel's clock for files is a coarse one
	must(t, os.Mkdir(path, 0o755))
	after := time.Now()
	must(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	if born := time.Unix(0, identityOf(t, path).Btime); born.Before(before) || born.After(after) {
		t.Errorf("made between %v and %v, says %v", before, after, born)
	}
}

// A file system gives the number of a removed directory to the next one.
func TestIdentityTellsASuccessorFromItsPredecessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine")
	seen := map[Identity]bool{}
	for range 100 {
		must(t, os.Mkdir(path, 0o755))
		id := identityOf(t, path)
		if seen[id] {
			t.Fatalf("%v was given twice", id)
		}
		seen[id] = true
		must(t, os.Remove(path))
	}
}

func TestIdentityIsKeptInJSON(t *testing.T) {
	for _, id := range []Identity{
		{},
		{Ino: 1<<64 - 1, Btime: 1<<63 - 1},
		{Ino: 256, Btime: -1, Subvolume: "00ff"},
	} {
		data, err := json.Marshal(id)
		must(t, err)
		var back Identity
		must(t, json.Unmarshal(data, &back))
		if back != id {
			t.Errorf("%v came back as %v from %s", id, back, data)
		}
	}
	data, err := json.Marshal(Identity{Ino: 7, Btime: 9})
	must(t, err)
	// Strings: a reader that takes numbers for floats would spoil them.
	if diff := cmp.Diff(`{"ino":"7","btime":"9"}`, string(data)); diff != "" {
		t.Error(diff)
	}
}

// Inode 256 is what the root of a btrfs subvolume has; on other file systems
// it is an inode like any other.
func TestNoSubvolumeIsSeenElsewhere(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	must(t, err)
	defer dir.Close()
	var on unix.Statfs_t
	must(t, unix.Fstatfs(int(dir.Fd()), &on))
	if on.Type == unix.BTRFS_SUPER_MAGIC {
		t.Skip("the temporary directory is on btrfs: TestBtrfs covers that")
	}
	if id, err := subvolume(dir, subvolumeRootIno); id != "" || err != nil {
		t.Errorf("subvolume %q, %v", id, err)
	}
}
