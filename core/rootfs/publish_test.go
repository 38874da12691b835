package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPublishGivesATreeItsName(t *testing.T) {
	w := newWorld(t).guard(t)
	before, err := w.tree.Identity()
	must(t, err)
	dest := filepath.Join(filepath.Dir(w.path), "published")
	must(t, Publish(w.path, dest))
	if after := identityOf(t, dest); after != before {
		t.Errorf("publishing made %v of %v", after, before)
	}
	if _, err := os.Lstat(w.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the staging directory is still there: %v", err)
	}
}

func TestPublishNeverTouchesWhatIsThere(t *testing.T) {
	for what, plant := range map[string]func(dest string) error{
		"an empty directory": func(dest string) error { return os.Mkdir(dest, 0o755) },
		"a tree":             func(dest string) error { return os.MkdirAll(filepath.Join(dest, "etc"), 0o755) },
		"a file":             func(dest string) error { return os.WriteFile(dest, []byte("x"), 0o644) },
		"a link to nowhere":  func(dest string) error { return os.Symlink("nowhere", dest) },
		"a link to a tree":   func(dest string) error { return os.Symlink("outside", dest) },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			dest := filepath.Join(w.outside, "dest")
			must(t, plant(dest))
			w.guard(t)
			if err := Publish(w.path, dest); !errors.Is(err, fs.ErrExist) {
				t.Errorf("published over %s: %v", what, err)
			}
			to, base, err := openParent(dest)
			must(t, err)
			defer to.Close()
			from, staging, err := openParent(w.path)
			must(t, err)
			defer from.Close()
			if err := renameOntoEmpty(from, staging, to, base); !errors.Is(err, fs.ErrExist) {
				t.Errorf("without RENAME_NOREPLACE, published over %s: %v", what, err)
			}
			if _, err := w.tree.Stat("etc"); err != nil {
				t.Errorf("the staging directory is damaged: %v", err)
			}
		})
	}
}

func TestPublishWhereTheFileSystemKnowsNoNoReplace(t *testing.T) {
	w := newWorld(t).guard(t)
	parent, base, err := openParent(w.path)
	must(t, err)
	defer parent.Close()
	must(t, renameOntoEmpty(parent, base, parent, "published"))
	if _, err := os.Stat(w.path + "/../published/etc"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("the staging directory is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(w.path), "published/etc")); err != nil {
		t.Error(err)
	}
	// What cannot be renamed leaves no empty directory behind.
	if err := renameOntoEmpty(parent, "none", parent, "other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renamed nothing: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(w.path), "other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory was left behind: %v", err)
	}
}

func TestPublishRefusesWhatIsNoTree(t *testing.T) {
	w := newWorld(t).guard(t)
	file := filepath.Join(w.outside, "file")
	dest := filepath.Join(filepath.Dir(w.path), "dest")
	for _, staging := range []string{"", "/", "relative", file, filepath.Join(w.outside, "none"), w.path + "/none/none"} {
		if err := Publish(staging, dest); err == nil {
			t.Errorf("published %q", staging)
		}
	}
	for _, dest := range []string{"", "/", "relative", w.path + "/none/none"} {
		if err := Publish(w.path, dest); err == nil {
			t.Errorf("published as %q", dest)
		}
	}
}
