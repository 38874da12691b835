//go:build integration

package rootcache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this needs root")
	}
	t.Skip("this needs root")
}

// world is a cache, and a directory beside it in which trees are made.
type world struct {
	*Cache
	dir, trees string
	warned     *[]string
}

// kinds are the file systems on which everything is to be true.
var kinds = []string{"as archives", "as snapshots"}

func newWorld(t testing.TB, kind string) world {
	t.Helper()
	needRoot(t)
	top := t.TempDir()
	if kind == "as snapshots" {
		mountBtrfs(t, top)
	}
	w := world{dir: filepath.Join(top, "cache"), trees: filepath.Join(top, "trees"), warned: new([]string)}
	must(t, os.Mkdir(w.trees, 0o700))
	c, err := Open(w.dir)
	must(t, err)
	c.Warn = func(message, _ string) { *w.warned = append(*w.warned, message) }
	w.Cache = c
	return w
}

func mountBtrfs(t testing.TB, dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 256<<20))
	for _, argv := range [][]string{{"mkfs.btrfs", "-q", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// tree makes a tree of many small files and some of another kind.
func (w world) tree(t testing.TB, name string) *rootfs.Tree {
	t.Helper()
	path := filepath.Join(w.trees, name)
	must(t, rootfs.MakeRoot(path))
	for i := range 200 {
		dir := filepath.Join(path, "usr", fmt.Sprint(i%7))
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), bytes.Repeat(fmt.Appendf(nil, "%d %x", i, sha256.Sum256(fmt.Append(nil, i))), 10), 0o644))
	}
	must(t, os.Link(filepath.Join(path, "usr/1/1"), filepath.Join(path, "link")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(path, "sym")))
	must(t, os.WriteFile(filepath.Join(path, "suid"), []byte("x"), 0o755))
	must(t, os.Chown(filepath.Join(path, "suid"), 1234, 1235))
	must(t, os.Chmod(filepath.Join(path, "suid"), 0o755|os.ModeSetuid))
	must(t, unix.Setxattr(filepath.Join(path, "suid"), "security.capability", []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0))
	tree, err := rootfs.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

func sumOf(t testing.TB, path string) string {
	t.Helper()
	tree, err := rootfs.Open(path)
	must(t, err)
	defer tree.Close() //nolint:errcheck // only read from
	sum := counter{hash: sha256.New()}
	must(t, archive.Write(t.Context(), &sum, tree, archive.WriteOptions{}))
	return sum.digest()
}

var facts = sdk.Facts{SSHUnits: []string{"ssh.service"}, Packages: []sdk.Package{{Name: "vim", Version: "1"}}}

func (w world) put(t testing.TB, k Key, tree *rootfs.Tree) Entry {
	t.Helper()
	release, err := w.Lock(t.Context(), k, nil)
	must(t, err)
	e, err := w.Put(t.Context(), k, tree, facts)
	must(t, errors.Join(err, release()))
	return e
}

// left lists what is in the cache that is no entry.
func (w world) left(t testing.TB) []string {
	t.Helper()
	names, err := os.ReadDir(w.dir)
	must(t, err)
	var all []string
	for _, n := range names {
		if !nameForm.MatchString(n.Name()) && n.Name() != locks {
			all = append(all, n.Name())
		}
	}
	held, err := os.ReadDir(w.path(locks))
	must(t, gone(err))
	for _, n := range held {
		all = append(all, "lock "+n.Name())
	}
	return all
}

func tool(t testing.TB, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}
