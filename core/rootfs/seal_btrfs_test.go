//go:build integration

package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What a cache relies on: that nothing but a change in it breaks a seal.
func TestASealTellsAChangeAndNothingElse(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	dir, image := onBtrfs(t)
	path, kept := filepath.Join(dir, "machine"), filepath.Join(dir, "kept")
	must(t, MakeRoot(path))
	plant(t, path, 100)
	tree := open(t, path)
	seal, done, err := tree.SealAs(kept)
	if err != nil || !done {
		t.Fatalf("sealed: %v, %v", done, err)
	}
	must(t, os.WriteFile(filepath.Join(path, "later"), nil, 0o600))
	if _, err := tree.Seal(); !errors.Is(err, ErrUnsealed) {
		t.Errorf("the origin can be written to, and has a seal: %v", err)
	}
	must(t, tree.Close())
	same := func(after string) {
		t.Helper()
		sealed := open(t, kept)
		defer sealed.Close() //nolint:errcheck // only read from
		if now, err := sealed.Seal(); err != nil || now != seal {
			t.Errorf("after %s the seal %+v is %+v, %v", after, seal, now, err)
		}
	}
	same("its making")
	tool(t, "sync", "-f", dir)
	same("a sync")
	sealed := open(t, kept)
	for _, name := range []string{"one", "two"} {
		way, err := sealed.Clone(t.Context(), filepath.Join(dir, name), CloneOptions{})
		if err != nil || way != Snapshot {
			t.Fatalf("cloned: %v, %v", way, err)
		}
		must(t, os.WriteFile(filepath.Join(dir, name, "own"), nil, 0o600))
		if _, err := os.Stat(filepath.Join(dir, name, "later")); err == nil {
			t.Error("what came later is in the clone")
		}
	}
	must(t, sealed.Close())
	tool(t, "sync", "-f", dir)
	same("being cloned")
	must(t, os.Rename(kept, kept+"2"))
	must(t, os.Rename(kept+"2", kept))
	tool(t, "umount", dir)
	tool(t, "mount", "-o", "loop", image, dir)
	same("a rename and mounting anew")
	if err := os.WriteFile(filepath.Join(kept, "x"), nil, 0o600); err == nil {
		t.Error("it can be written to")
	}

	tool(t, "btrfs", "property", "set", "-ts", kept, "ro", "false")
	sealed = open(t, kept)
	if _, err := sealed.Seal(); !errors.Is(err, ErrUnsealed) {
		t.Errorf("it was made writable, and has a seal: %v", err)
	}
	must(t, os.Chmod(filepath.Join(kept, "usr"), 0o700))
	tool(t, "btrfs", "property", "set", "-ts", kept, "ro", "true")
	if now, err := sealed.Seal(); err != nil || now == seal {
		t.Errorf("what was changed has the same seal: %+v, %v", now, err)
	}
	must(t, sealed.Close())

	// Where there is none: one that holds another, and a plain directory.
	tool(t, "btrfs", "subvolume", "create", filepath.Join(path, "nested"))
	plain := filepath.Join(dir, "plain")
	must(t, os.Mkdir(plain, 0o700))
	for _, p := range []string{path, plain} {
		tree := open(t, p)
		if _, done, err := tree.SealAs(filepath.Join(dir, "none")); done || err != nil {
			t.Errorf("%s is sealed: %v, %v", p, done, err)
		}
		must(t, tree.Close())
	}
}
