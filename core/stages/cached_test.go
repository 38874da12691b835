package stages

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	served "github.com/google/go-containerregistry/pkg/registry"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootcache"
	"github.com/nspawn-build/nspawn-build/core/rootcache/registry"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// runner is a host with a cache of its own, on which trees are made.
type runner struct {
	*rootcache.Cache
	dir string

	mu     sync.Mutex
	made   int // trees that were bootstrapped
	warned []string
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this needs root")
		}
		t.Skip("this needs root")
	}
	dir := t.TempDir()
	c, err := rootcache.Open(filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return &runner{Cache: c, dir: dir}
}

func cachedKey(t *testing.T) rootcache.Key {
	t.Helper()
	k, err := rootcache.NewKey("debian", strings.Repeat("1", 64),
		sdk.State{Engine: "tar", Repository: map[string]string{"a": "1"}}, sdk.Request{Distro: "debian", Release: "trixie"})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// make makes a tree of that name as create does, and says what came of the cache.
func (r *runner) make(t *testing.T, name string, from, to []Registry) CacheUse {
	t.Helper()
	tell := func(e pipeline.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if e.Kind == pipeline.Warning {
			r.warned = append(r.warned, e.Text)
		}
	}
	c := &Cached{
		Origin: &FromPlugin{
			Cache: filepath.Join(r.dir, "packages"), Request: sdk.Request{Distro: "debian", Release: "trixie"}, Tell: tell,
			Run: func(ctx context.Context, req sdk.Request, to sdk.Reporter) (sdk.Facts, error) {
				r.mu.Lock()
				r.made++
				r.mu.Unlock()
				return fillTree(ctx, req, to)
			},
		},
		Cache: r.Cache, Key: cachedKey(t), Current: func() bool { return true }, From: from, To: to, Tell: tell,
	}
	c.Look()
	root := filepath.Join(r.dir, name)
	facts, err := c.Make(t.Context(), nil, root, "")
	if err != nil || len(facts.SSHUnits) == 0 {
		t.Errorf("%s is not made: %v", name, err)
	}
	if _, err := os.Stat(filepath.Join(root, "etc/shadow")); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return c.Use()
}

// theRegistry runs one on loopback, between which and its clients is meddle.
func theRegistry(t *testing.T, patience time.Duration, meddle func(http.ResponseWriter, *http.Request, http.Handler)) []Registry {
	t.Helper()
	inner := served.New(served.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if meddle != nil {
			meddle(w, r, inner)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	r, err := registry.Open(strings.TrimPrefix(server.URL, "http://")+"/ci/roots", registry.Options{Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	return []Registry{r}
}

func TestARegistryThatHangsEndsWithTheTreeBootstrapped(t *testing.T) {
	hanging := theRegistry(t, 300*time.Millisecond, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
	r := newRunner(t)
	use := r.make(t, "one", hanging, hanging)
	if use.Hit || r.made != 1 || !strings.Contains(use.Reason, "has sent nothing for 300ms") || len(r.warned) != 2 || !strings.Contains(r.warned[1], "is not uploaded to") {
		t.Errorf("%+v, made %d, warned %q", use, r.made, r.warned)
	}
	// It is kept all the same.
	if use := r.make(t, "two", hanging, nil); !use.Hit || r.made != 1 {
		t.Errorf("%+v, made %d", use, r.made)
	}
}

func TestATreeThatWasKeptAlreadyIsSharedToo(t *testing.T) {
	uploads := 0
	shared := theRegistry(t, 0, func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			uploads++
		}
		inner.ServeHTTP(w, r)
	})
	first, second := newRunner(t), newRunner(t)
	first.make(t, "one", nil, nil)
	for _, name := range []string{"two", "three"} {
		if use := first.make(t, name, nil, shared); !use.Hit {
			t.Errorf("%+v", use)
		}
	}
	use := second.make(t, "one", shared, shared)
	if !use.Hit || second.made != 0 || first.made != 1 || uploads != 1 {
		t.Errorf("%+v, made %d and %d, uploaded %d times", use, first.made, second.made, uploads)
	}
	if all := append(first.warned, second.warned...); len(all) > 0 {
		t.Errorf("warned %q", all)
	}
}

func TestWhoUploadsATreeHoldsUpNobody(t *testing.T) {
	began, on := make(chan struct{}), make(chan struct{})
	var once sync.Once
	slow := theRegistry(t, 0, func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if r.Method == http.MethodPatch || r.Method == http.MethodPut || r.Method == http.MethodPost {
			once.Do(func() { close(began) })
			<-on
		}
		inner.ServeHTTP(w, r)
	})
	r := newRunner(t)
	var all sync.WaitGroup
	all.Go(func() { r.make(t, "one", nil, slow) })
	<-began
	if use := r.make(t, "two", nil, nil); !use.Hit {
		t.Errorf("the second has %+v", use)
	}
	// Nor does who wants to make it anew.
	release, err := r.Lock(t.Context(), cachedKey(t), func() { t.Error("the lock is held while it is uploaded") })
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	close(on)
	all.Wait()
	if r.made != 1 || len(r.warned) > 0 {
		t.Errorf("made %d, warned %q", r.made, r.warned)
	}
}

// A tree of a registry that nobody could log in to is no tree, and gives way.
func TestATreeWhoseFactsDoNotDoIsBootstrappedInstead(t *testing.T) {
	shared := theRegistry(t, 0, nil)
	other, k := newRunner(t), cachedKey(t)
	path := filepath.Join(other.dir, "tree")
	if err := rootfs.MakeRoot(path); err != nil {
		t.Fatal(err)
	}
	tree, err := rootfs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := other.Put(t.Context(), k, tree, sdk.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	_ = tree.Close()
	if err := shared[0].Push(t.Context(), e, other.Cache, false); err != nil {
		t.Fatal(err)
	}
	r, next := newRunner(t), newRunner(t)
	if use := r.make(t, "one", shared, shared); use.Hit || r.made != 1 || len(r.warned) != 1 || !strings.Contains(r.warned[0], "no unit for sshd") {
		t.Errorf("%+v, made %d, warned %q", use, r.made, r.warned)
	}
	if use := next.make(t, "one", shared, nil); !use.Hit || next.made != 0 {
		t.Errorf("the next one has %+v", use)
	}
}
