package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// maze plants links of all kinds, for names to be made of.
func maze(t testing.TB, root string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(root, "a/b/c"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "a/f"), []byte("f"), 0o644))
	for link, target := range map[string]string{
		"up":      "..",
		"top":     "/",
		"abs":     "/a/b",
		"a/rel":   "b/c",
		"a/b/out": "../../../../../..",
		"a/b/l":   "/up/abs/../rel",
		"loop":    "a/loop",
		"a/loop":  "/loop",
		"gone":    "/a/gone/on",
		"a/link":  "f",
		"host":    "/proc/self/root",
	} {
		must(t, os.Symlink(target, filepath.Join(root, link)))
	}
}

// chroots answers which inode a name leads to, from a thread whose root
// directory is the tree: the kernel's own idea of what we claim to do.
func chroots(t testing.TB, root string) func(name string) (uint64, error) {
	t.Helper()
	type answer struct {
		ino uint64
		err error
	}
	names, answers := make(chan string), make(chan answer)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with this
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Chroot(root)
		}
		if err == nil {
			err = unix.Chdir("/")
		}
		answers <- answer{err: err}
		for name := range names {
			var st unix.Stat_t
			err := unix.Stat("/"+name, &st)
			answers <- answer{st.Ino, err}
		}
	}()
	t.Cleanup(func() { close(names) })
	must(t, (<-answers).err)
	return func(name string) (uint64, error) {
		names <- name
		got := <-answers
		return got.ino, got.err
	}
}

// FuzzNames compares what names lead to with what chroot makes of them, and
// looks at what happens when they are used.
func FuzzNames(f *testing.F) {
	if os.Geteuid() != 0 {
		missing(f, "root, for chroot")
	}
	for _, name := range []string{
		"", ".", "..", "/", "//", "a/f", "a/f/", "a/f/.", "a/link", "up/a", "top/../..", "abs/c", "abs/../f",
		"a/b/out/a/f", "a/b/l", "loop", "gone", "gone/x", "host/etc", "a/none/..", "a/f/..", "a\x00b", "\xff", "a\n",
		strings.Repeat("a/../", 100) + "a/f", strings.Repeat("x", 300), strings.Repeat("a/../", 1000),
	} {
		f.Add(name)
	}
	reference := f.TempDir()
	maze(f, reference)
	chrooted := chroots(f, reference)
	still := open(f, reference)
	f.Fuzz(func(t *testing.T, name string) {
		if strings.Contains(name, "\x00") {
			if _, err := still.Stat(name); err == nil {
				t.Fatal("a name with NUL was taken")
			}
			return
		}
		want, wantErr := chrooted(name)
		info, err := still.Stat(name)
		var got unix.Stat_t
		if err == nil {
			handle, err := still.open(name)
			must(t, err)
			defer handle.Close()
			must(t, unix.Fstat(int(handle.Fd()), &got))
		}
		// A path that is just short enough for one of the two is of no interest.
		if len(name) < unix.PathMax-2 && (got.Ino != want || (err == nil) != (wantErr == nil)) {
			t.Fatalf("%q leads to %v, %v; with chroot to inode %d, %v", name, info, err, want, wantErr)
		}
		useName(t, name)
	})
}

// useName writes and removes name in a maze of its own.
func useName(t *testing.T, name string) {
	top := t.TempDir()
	w := world{path: filepath.Join(top, "machine"), outside: filepath.Join(top, "outside")}
	maze(t, w.path)
	must(t, os.Mkdir(w.outside, 0o755))
	before := fingerprint(t, top)
	for path := range before {
		if strings.HasPrefix(path, w.path) {
			delete(before, path)
		}
	}
	tree := open(t, w.path)
	err := tree.WriteFile(name, []byte(name), 0o600)
	// A name such as up/up, where up is a link to "..", replaces a link on its
	// own way and leads nowhere afterwards.
	if _, lost := tree.ReadDir(name[:strings.LastIndexByte(name, '/')+1]); err == nil && lost == nil {
		data, err := tree.ReadFile(name, 1<<16)
		if err != nil || string(data) != name {
			t.Errorf("what was written to %q reads %q, %v", name, data, err)
		}
		must(t, tree.Symlink("target", name))
		if target, err := tree.Readlink(name); target != "target" || err != nil {
			t.Errorf("the link made at %q leads to %q, %v", name, target, err)
		}
		must(t, tree.Remove(name))
		if _, err := tree.Lstat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q was removed and is there: %v", name, err)
		}
	}
	if err := tree.MkdirAll(name, 0o755); err == nil {
		if _, err := tree.ReadDir(name); err != nil {
			t.Errorf("made a directory that cannot be read: %v", err)
		}
	}
	for path, line := range fingerprint(t, top) {
		if !strings.HasPrefix(path, w.path) && before[path] != line {
			t.Errorf("%s was %q and is %q", path, before[path], line)
		}
	}
	must(t, RemoveTree(t.Context(), w.path, identityOf(t, w.path)))
}
