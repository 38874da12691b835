package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// gone fails the test unless nothing of the tree is left under any name.
func (w world) gone(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(w.path))
	must(t, err)
	for _, entry := range entries {
		if entry.Name() != "outside" {
			t.Errorf("left behind: %s", entry.Name())
		}
	}
}

func (w world) remove(t *testing.T) error {
	t.Helper()
	id, err := w.tree.Identity()
	must(t, err)
	return RemoveTree(t.Context(), w.path, id)
}

func TestRemoveTreeTakesEverythingInIt(t *testing.T) {
	w := newWorld(t)
	plant(t, w.path, 500)
	for _, name := range []string{"new\nline", "\xff\xfe", "-rf", " ", "\\", "*", strings.Repeat("x", 255), ".hidden", "\x1b[2J"} {
		must(t, os.WriteFile(w.in(name), nil, 0))
		must(t, os.MkdirAll(filepath.Join(w.in("dirs"), name, name), 0o700))
	}
	must(t, unix.Mkfifo(w.in("pipe"), 0o600))
	must(t, os.Symlink("/", w.in("root-link")))
	must(t, os.Symlink(w.outside, w.in("absolute")))
	must(t, os.Symlink("../outside", w.in("relative")))
	must(t, os.Symlink("../../outside/d", w.in("etc/relative")))
	must(t, os.Link(filepath.Join(w.outside, "file"), w.in("etc/hard")))
	w.guard(t)
	must(t, w.remove(t))
	w.gone(t)
}

func TestRemoveTreeTakesDevices(t *testing.T) {
	needRoot(t)
	w := newWorld(t).guard(t)
	must(t, unix.Mknod(w.in("etc/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(w.in("etc/tty"), unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))))
	must(t, w.remove(t))
	w.gone(t)
}

// A tree can be deeper than a path can be long and than files can be open.
func TestRemoveTreeTakesDeepTrees(t *testing.T) {
	w := newWorld(t).guard(t)
	const depth = 2000
	dir, err := os.Open(w.path)
	must(t, err)
	for range depth {
		for _, name := range []string{"deep", "flat"} {
			must(t, unix.Mkdirat(int(dir.Fd()), name, 0o755))
		}
		next, err := openAt(dir, "deep", unix.O_RDONLY)
		must(t, err)
		must(t, dir.Close())
		dir = next
	}
	must(t, dir.Close())
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	few := unix.Rlimit{Cur: 128, Max: limit.Max}
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	must(t, w.remove(t))
	w.gone(t)
}

func TestRemoveTreeRemovesNothingElse(t *testing.T) {
	for what, c := range map[string]struct {
		plant func(t *testing.T, w world)
		want  error
	}{
		"another tree has its name": {func(t *testing.T, w world) {
			must(t, os.Rename(w.path, filepath.Join(w.outside, "moved")))
			must(t, os.MkdirAll(w.in("etc/other"), 0o755))
		}, ErrNotOurs},
		"a link to it has its name": {func(t *testing.T, w world) {
			must(t, os.Rename(w.path, filepath.Join(w.outside, "moved")))
			must(t, os.Symlink("outside/moved", w.path))
		}, ErrNotOurs},
		"a link out has its name": {func(t *testing.T, w world) {
			must(t, os.RemoveAll(w.path))
			must(t, os.Symlink(w.outside, w.path))
		}, ErrNotOurs},
		"a file has its name": {func(t *testing.T, w world) {
			must(t, os.RemoveAll(w.path))
			must(t, os.WriteFile(w.path, []byte("x"), 0o600))
		}, ErrNotOurs},
		"another tree has its hidden name": {func(t *testing.T, w world) {
			id, err := w.tree.Identity()
			must(t, err)
			must(t, os.MkdirAll(filepath.Join(filepath.Dir(w.path), hiddenName(id), "etc"), 0o755))
		}, ErrNotOurs},
		"a link has its hidden name": {func(t *testing.T, w world) {
			id, err := w.tree.Identity()
			must(t, err)
			must(t, os.Symlink("outside", filepath.Join(filepath.Dir(w.path), hiddenName(id))))
		}, ErrNotOurs},
		"it is gone": {func(t *testing.T, w world) {
			must(t, os.RemoveAll(w.path))
		}, nil},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			c.plant(t, w)
			w.guard(t)
			before := fingerprint(t, filepath.Dir(w.path))
			if err := w.remove(t); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			for path, line := range fingerprint(t, filepath.Dir(w.path)) {
				if before[path] != line {
					t.Errorf("%s was %q and is %q", path, before[path], line)
				}
				delete(before, path)
			}
			for path := range before {
				t.Errorf("%s was removed", path)
			}
		})
	}
}

func TestRemoveTreeRefusesStrangeArguments(t *testing.T) {
	w := newWorld(t).guard(t)
	for _, path := range []string{"", "/", "..", "machine", "./machine", "/../"} {
		if err := RemoveTree(t.Context(), path, Identity{}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("removing %q: %v", path, err)
		}
	}
	if err := RemoveTree(t.Context(), w.path, Identity{}); !errors.Is(err, ErrNotOurs) {
		t.Errorf("no identity: %v", err)
	}
	must(t, RemoveTree(t.Context(), w.path+"/none/none", Identity{}))
}

func TestRemoveTreeGoesOnWhereItWasStopped(t *testing.T) {
	w := newWorld(t).guard(t)
	plant(t, w.path, 100)
	id, err := w.tree.Identity()
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := RemoveTree(ctx, w.path, id); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	// It is hidden already; meanwhile the name is given to another machine.
	if _, err := os.Lstat(w.path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the tree can still be seen: %v", err)
	}
	must(t, os.MkdirAll(w.in("etc/successor"), 0o755))
	must(t, RemoveTree(t.Context(), w.path, id))
	if _, err := os.Stat(w.in("etc/successor")); err != nil {
		t.Errorf("the successor was touched: %v", err)
	}
	must(t, os.RemoveAll(w.path))
	w.gone(t)
	must(t, RemoveTree(t.Context(), w.path, id))
}

const immutable, appendOnly = 0x10, 0x20

// lock sets an attribute as chattr does and clears it when the test ends.
func lock(t *testing.T, path string, flag uint32) {
	t.Helper()
	needRoot(t)
	f, err := os.Open(path)
	must(t, err)
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = setFlags(f, flags|flag)
	}
	if err != nil {
		must(t, f.Close())
		missing(t, fmt.Sprintf("a file system with attributes for temporary files (%v)", err))
	}
	t.Cleanup(func() {
		_, err := clearFlags(f)
		must(t, errors.Join(err, f.Close()))
	})
}

func TestRemoveTreeTakesLockedFiles(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(w.in("var/log/journal/deep"), 0o755))
	for _, name := range []string{"etc/resolv.conf", "etc/open", "var/log/journal/a", "var/log/journal/deep/b", "etc/twice"} {
		must(t, os.WriteFile(w.in(name), []byte("x"), 0o644))
	}
	must(t, os.Symlink("open", w.in("etc/link")))
	must(t, os.Link(w.in("etc/twice"), w.in("var/twice")))
	// This one is the host's as well: it has to stay as it is there.
	host := filepath.Join(w.outside, "etc/hostname")
	must(t, os.Link(host, w.in("etc/hostname")))
	lock(t, host, immutable)
	w.guard(t)
	lock(t, w.in("etc/resolv.conf"), immutable)
	lock(t, w.in("etc/twice"), immutable)
	lock(t, w.in("var/log/journal/a"), appendOnly)
	lock(t, w.in("etc"), immutable)
	lock(t, w.in("var/log/journal"), appendOnly)
	lock(t, w.in("var/log/journal/deep"), immutable)
	lock(t, w.path, immutable)
	must(t, w.remove(t))
	w.gone(t)
	if attributes(t, host)&immutable == 0 {
		t.Error("the host's file has lost its attribute")
	}
}

func TestRemoveTreeGoesOnWithALockedTree(t *testing.T) {
	w := newWorld(t).guard(t)
	id, err := w.tree.Identity()
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := RemoveTree(ctx, w.path, id); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	lock(t, filepath.Join(filepath.Dir(w.path), hiddenName(id)), immutable)
	must(t, RemoveTree(t.Context(), w.path, id))
	w.gone(t)
}
