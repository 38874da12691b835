//go:build integration

package rootcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestWhatIsPutComesBackToTheByte(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w, k := newWorld(t, kind), key(t, state, request())
			root := filepath.Join(w.trees, "root")
			var miss *Miss
			if _, err := w.Take(t.Context(), k, root); !errors.As(err, &miss) || miss.Damaged {
				t.Fatalf("taken from nothing: %v", err)
			}
			tree := w.tree(t, "made")
			want := sumOf(t, tree.Path())
			put := w.put(t, k, tree)
			if put.Tree != want {
				t.Errorf("its digest is %s and not %s", put.Tree, want)
			}
			// What becomes of the tree that was put is nothing to what is kept.
			must(t, os.WriteFile(filepath.Join(tree.Path(), "suid"), []byte("later"), 0o755))
			for _, name := range []string{"root", "again"} {
				e, err := w.Take(t.Context(), k, filepath.Join(w.trees, name))
				must(t, err)
				if got := sumOf(t, filepath.Join(w.trees, name)); got != want || e.Tree != want || len(e.Facts.SSHUnits) != 1 {
					t.Errorf("it came back as %s (%+v), want %s", got, e, want)
				}
				must(t, os.WriteFile(filepath.Join(w.trees, name, "own"), nil, 0o600))
			}
			if left := w.left(t); len(left) > 0 || len(*w.warned) > 0 {
				t.Errorf("left behind: %q; warned: %q", left, *w.warned)
			}
		})
	}
}

func TestOneOfManyMakesATreeAndTheOthersTakeIt(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w, k := newWorld(t, kind), key(t, state, request())
			tree := w.tree(t, "made")
			want := sumOf(t, tree.Path())
			var fills atomic.Int32
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					root := filepath.Join(w.trees, fmt.Sprint(i))
					release, err := w.Lock(t.Context(), k, nil)
					if err != nil {
						t.Error(err)
						return
					}
					_, err = w.Take(t.Context(), k, root)
					if errors.Is(err, ErrMiss) {
						fills.Add(1)
						time.Sleep(20 * time.Millisecond)
						_, err = w.Put(t.Context(), k, tree, facts)
						if err == nil {
							_, err = w.Take(t.Context(), k, root)
						}
					}
					if err := errors.Join(err, release()); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if fills.Load() != 1 {
				t.Errorf("it was made %d times", fills.Load())
			}
			for i := range 8 {
				if got := sumOf(t, filepath.Join(w.trees, fmt.Sprint(i))); got != want {
					t.Errorf("%d has %s", i, got)
				}
			}
			if left := w.left(t); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			other := request()
			other.Release = "sid"
			release, err := w.Lock(t.Context(), k, nil)
			must(t, err)
			free, err := w.Lock(t.Context(), key(t, state, other), nil) // another key waits for nobody
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			waited := 0
			if _, err := w.Lock(ctx, k, func() { waited++ }); !errors.Is(err, context.DeadlineExceeded) || waited != 1 {
				t.Errorf("a lock that is held is taken: %v, %d", err, waited)
			}
			must(t, errors.Join(release(), free()))
		})
	}
}

func TestACacheThatOthersCanWriteToIsRefused(t *testing.T) {
	w := newWorld(t, kinds[0])
	k := key(t, state, request())
	w.put(t, k, w.tree(t, "made"))
	var unsafe *UnsafeError
	check := func(what string) {
		t.Helper()
		if _, err := Open(w.dir); !errors.As(err, &unsafe) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := w.Lock(t.Context(), k, nil); !errors.As(err, &unsafe) {
			t.Errorf("%s, to put: %v", what, err)
		}
	}
	must(t, os.Chmod(w.dir, 0o777))
	check("its mode")
	must(t, errors.Join(os.Chmod(w.dir, 0o700), os.Chown(w.dir, 1234, 0)))
	check("its owner")
	must(t, errors.Join(os.Chown(w.dir, 0, 0), os.Rename(w.dir, w.dir+"-"), os.Symlink(w.dir+"-", w.dir)))
	check("a link")
}
