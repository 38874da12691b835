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

// mounted are things that may be mounted in a tree when it is to be removed.
// All of them are the test's own: if the code under test were broken, it would
// remove them.
var mounted = map[string]struct {
	at string
	do func(t *testing.T, w world, at string)
}{
	"a directory of the host": {"mnt", func(t *testing.T, w world, at string) {
		mount(t, w.outside, at, "", unix.MS_BIND)
	}},
	"a directory of the host, deep below": {"usr/lib/a b\\c\nd/mnt", func(t *testing.T, w world, at string) {
		mount(t, w.outside, at, "", unix.MS_BIND)
	}},
	"a file of the host": {"mnt", func(t *testing.T, w world, at string) {
		must(t, os.Remove(at))
		must(t, os.WriteFile(at, nil, 0o600))
		mount(t, filepath.Join(w.outside, "file"), at, "", unix.MS_BIND)
	}},
	"a file system with another in it": {"dev", func(t *testing.T, _ world, at string) {
		mount(t, "tmpfs", at, "tmpfs", 0)
		must(t, os.Mkdir(filepath.Join(at, "pts"), 0o755))
		mount(t, "tmpfs", filepath.Join(at, "pts"), "tmpfs", 0)
		must(t, os.WriteFile(filepath.Join(at, "pts/file"), []byte(secret), 0o600))
	}},
	"the tree in itself": {"mnt", func(t *testing.T, w world, at string) {
		mount(t, w.path, at, "", unix.MS_BIND)
	}},
	"another file system": {"mnt", func(t *testing.T, _ world, at string) {
		mount(t, "tmpfs", at, "tmpfs", 0)
		must(t, os.WriteFile(filepath.Join(at, "file"), []byte(secret), 0o600))
	}},
	"another file system over the tree": {".", func(t *testing.T, _ world, at string) {
		mount(t, "tmpfs", at, "tmpfs", 0)
		must(t, os.WriteFile(filepath.Join(at, "file"), []byte(secret), 0o600))
	}},
	"the tree over itself": {".", func(t *testing.T, _ world, at string) {
		mount(t, at, at, "", unix.MS_BIND)
	}},
}

func TestRemoveTreeNeverCrossesAMount(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	for what, c := range mounted {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			at := filepath.Clean(w.in(c.at))
			must(t, os.MkdirAll(at, 0o755))
			c.do(t, w, at)
			w.guard(t)
			before := fingerprint(t, w.path)
			err := w.remove(t)
			if !errors.Is(err, ErrMounted) || !strings.Contains(err.Error(), filepath.Base(at)) {
				t.Errorf("got %v, which is not that something is mounted at %q", err, at)
			}
			if _, err := os.Stat(w.path); err != nil {
				t.Errorf("the tree has lost its name: %v", err)
			}
			for path := range fingerprint(t, w.path) {
				delete(before, path)
			}
			for path := range before {
				t.Errorf("%s was removed", path)
			}
		})
	}
}

// Whatever is mounted after the table of mounts was read is still not entered.
func TestMountsThatComeWhileRemovingAreNotEntered(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	for what, c := range mounted {
		t.Run(what, func(t *testing.T) {
			if c.at == "." {
				t.Skip("a tree that is open already stays the one below the mount")
			}
			w := newWorld(t)
			at := w.in(c.at)
			must(t, os.MkdirAll(at, 0o755))
			parent, base, err := openParent(w.path)
			must(t, err)
			defer parent.Close()
			tree, err := openAt(parent, base, unix.O_RDONLY|unix.O_DIRECTORY)
			must(t, err)
			defer tree.Close()
			c.do(t, w, at)
			w.guard(t)
			before := fingerprint(t, at)
			if err := removeHidden(t.Context(), parent, base, tree); !errors.Is(err, ErrMounted) {
				t.Errorf("got %v", err)
			}
			if what == "the tree in itself" {
				return // of that one, what is not below the mount may go
			}
			after := fingerprint(t, at)
			for path, line := range before {
				if after[path] != line {
					t.Errorf("%s was %q and is %q", path, line, after[path])
				}
			}
		})
	}
}

// A mount of another namespace, such as one that a crashed tool has left
// behind, is not seen here. Its content stays all the same.
func TestMountsOfOtherNamespacesKeepTheirContent(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	must(t, os.Mkdir(w.in("mnt"), 0o755))
	w.guard(t)
	ready, end, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlock: the thread ends, and with it the namespace
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount(w.outside, w.in("mnt"), "", unix.MS_BIND, "")
		}
		ready <- err
		<-end
	}()
	defer func() { close(end); <-ended }()
	must(t, <-ready)
	must(t, w.remove(t))
	w.gone(t)
}
