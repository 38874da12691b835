package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// flip lets the entries a and b of the directory dir take each other's place
// that many times, and goes on until stop is called. The channel is closed
// when they have.
func flip(t *testing.T, dir *os.File, a, b string, times int) (stop func(), enough <-chan struct{}) {
	t.Helper()
	reached, ended := make(chan struct{}), make(chan struct{})
	var stopped atomic.Bool
	go func() {
		defer close(ended)
		for n := 0; n < times || !stopped.Load(); n++ {
			// It fails when one of them was removed, and goes on then.
			_ = unix.Renameat2(int(dir.Fd()), a, int(dir.Fd()), b, unix.RENAME_EXCHANGE)
			if n == times {
				close(reached)
			}
		}
	}()
	return func() { stopped.Store(true); <-ended }, reached
}

func openDir(t *testing.T, path string) *os.File {
	t.Helper()
	dir, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { dir.Close() })
	return dir
}

func TestRacesLeadNowhere(t *testing.T) {
	for _, group := range [][]string{
		{"WriteFile"},
		{"Remove"},
		{"Symlink", "MkdirAll"},
		{"ReadFile", "Readlink", "Stat", "Lstat", "ReadDir", "Glob"},
	} {
		t.Run(strings.Join(group, "+"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).guard(t)
			must(t, os.Mkdir(w.in("etc/d"), 0o755))
			must(t, os.WriteFile(w.in("etc/d/file"), nil, 0o644))
			must(t, os.Symlink(filepath.Join(w.outside, "d"), w.in("etc/link")))
			stop, enough := flip(t, openDir(t, w.in("etc")), "d", "link", 100_000)
			defer stop()
			for n := 0; ; n++ {
				err := uses[group[n%len(group)]](w.tree, "etc/d/file")
				if errors.Is(err, errLeaked) {
					t.Fatal(err)
				}
				select {
				case <-enough:
					return
				default:
				}
			}
		})
	}
}

// The attacker holds the directory open: that the tree is hidden under
// another name is nothing to them.
func TestRacesWithRemoveTreeLeadNowhere(t *testing.T) {
	for round := range 10 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			w := newWorld(t).guard(t)
			plant(t, w.in("etc/d"), 300)
			must(t, os.Symlink(w.outside, w.in("etc/link")))
			dir := openDir(t, w.in("etc"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var attackers sync.WaitGroup
			attackers.Go(func() { // moves what is being emptied to elsewhere in the tree
				for n := 0; ctx.Err() == nil; n++ {
					_ = unix.Renameat(int(dir.Fd()), fmt.Sprintf("d/usr/%d/%d", n%3, n%7), int(dir.Fd()), "moved")
					_ = unix.Renameat(int(dir.Fd()), "moved", int(dir.Fd()), fmt.Sprintf("d/usr/%d/%d", n%3, n%7))
				}
			})
			attackers.Go(func() { // puts the link back wherever it was removed
				for ctx.Err() == nil {
					_ = unix.Symlinkat(w.outside, int(dir.Fd()), "link")
					_ = unix.Symlinkat(w.outside, int(dir.Fd()), "d")
				}
			})
			stop, _ := flip(t, dir, "d", "link", 10_000)
			id, err := w.tree.Identity()
			must(t, err)
			if err := RemoveTree(t.Context(), w.path, id); err != nil {
				t.Logf("gave up: %v", err)
			}
			cancel()
			attackers.Wait()
			stop()
			must(t, RemoveTree(t.Context(), w.path, id))
			w.gone(t)
		})
	}
}

// What was a directory when it was to be unlinked may be a link when it is to
// be entered.
func TestWalkerDoesNotFollow(t *testing.T) {
	w := newWorld(t).guard(t)
	for link, target := range map[string]string{"absolute": w.outside, "relative": "../outside", "inside": "etc", "up": ".."} {
		must(t, os.Symlink(target, w.in(link)))
		top := openDir(t, w.path)
		at, err := where(top)
		must(t, err)
		walker := &walker{crew: &crew{}, dir: top, path: []level{{at: at}}}
		if err := walker.down(t.Context(), link); err != nil || len(walker.path) != 1 || walker.dir != top {
			t.Errorf("went through the %s link: %v", link, err)
		}
	}
}

// A machine that could move the directory where the walker is would have it
// go up to another place than it came from.
func TestWalkerDoesNotGoUpElsewhere(t *testing.T) {
	w := newWorld(t).guard(t)
	must(t, os.MkdirAll(w.in("a/b"), 0o755))
	top := openDir(t, w.path)
	at, err := where(top)
	must(t, err)
	walker := &walker{crew: &crew{}, dir: openDir(t, w.path), path: []level{{at: at}}}
	must(t, walker.down(t.Context(), "a"))
	must(t, walker.down(t.Context(), "b"))
	must(t, os.Rename(w.in("a/b"), filepath.Join(w.path+".moved")))
	if err := walker.up(); !errors.Is(err, errMoved) {
		t.Errorf("got %v", err)
	}
	must(t, walker.dir.Close())
}

func TestTreeSwappedWhileItIsHiddenIsPutBack(t *testing.T) {
	w := newWorld(t).guard(t)
	parent, base, err := openParent(w.path)
	must(t, err)
	defer parent.Close()
	tree := openDir(t, w.path)
	id, err := w.tree.Identity()
	must(t, err)
	for what, plant := range map[string]func() error{
		"another directory": func() error { return os.MkdirAll(w.in("etc/other"), 0o755) },
		"a link":            func() error { return os.Symlink("outside", w.path) },
	} {
		must(t, os.RemoveAll(w.path))
		must(t, plant())
		before := fingerprint(t, w.path)
		if err := hide(parent, base, hiddenName(id), id, tree); err == nil {
			t.Errorf("hid %s", what)
		}
		for path, line := range fingerprint(t, w.path) {
			if before[path] != line {
				t.Errorf("%s was %q and is %q", path, before[path], line)
			}
		}
	}
	must(t, os.RemoveAll(w.path))
	w.gone(t)
}
