//go:build integration

package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nspawn-build/nspawn-build/core/rootcache"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// runner is a host with an empty disk.
type runner struct {
	*rootcache.Cache
	dir string
}

func newRunner(t *testing.T) runner {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this needs root")
		}
		t.Skip("this needs root")
	}
	dir := t.TempDir()
	c, err := rootcache.Open(filepath.Join(dir, "cache"))
	must(t, err)
	return runner{c, dir}
}

func theKey(t *testing.T) rootcache.Key {
	t.Helper()
	k, err := rootcache.NewKey("fixture", strings.Repeat("1", 64),
		sdk.State{Engine: "tar", Repository: map[string]string{"tarball": "1"}}, sdk.Request{Distro: "fixture", Release: "trixie"})
	must(t, err)
	return k
}

// made puts a tree.
func (r runner) made(t *testing.T, k rootcache.Key) rootcache.Entry {
	t.Helper()
	path := filepath.Join(r.dir, "made")
	must(t, rootfs.MakeRoot(path))
	for i := range 50 {
		must(t, os.WriteFile(filepath.Join(path, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, 1000*i), 0o644))
	}
	tree, err := rootfs.Open(path)
	must(t, err)
	defer tree.Close() //nolint:errcheck // only read from
	e, err := r.Put(t.Context(), k, tree, sdk.Facts{SSHUnits: []string{"ssh.service"}})
	must(t, err)
	return e
}

// serve runs a registry on loopback, between which and its clients is meddle.
func serve(t *testing.T, meddle func(http.ResponseWriter, *http.Request, http.Handler)) string {
	t.Helper()
	real := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if meddle != nil {
			meddle(w, r, real)
			return
		}
		real.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/ci/roots"
}

func TestTwoRunnersShareATreeByARegistry(t *testing.T) {
	uploads := 0
	ref := serve(t, func(w http.ResponseWriter, r *http.Request, real http.Handler) {
		if r.Method == http.MethodPatch || r.Method == http.MethodPut {
			uploads++
		}
		real.ServeHTTP(w, r)
	})
	repository, err := Open(ref, Options{})
	must(t, err)
	one, two, k := newRunner(t), newRunner(t), theKey(t)
	if err := repository.Pull(t.Context(), k, two.Cache); !errors.Is(err, rootcache.ErrMiss) {
		t.Fatalf("an empty registry gives %v", err)
	}
	e := one.made(t, k)
	must(t, repository.Push(t.Context(), e, one.Cache, false))
	before := uploads
	must(t, repository.Push(t.Context(), e, one.Cache, false))
	if before == 0 || uploads != before {
		t.Errorf("what is there was uploaded again: %d, then %d", before, uploads)
	}
	must(t, repository.Pull(t.Context(), k, two.Cache))
	got, err := two.Take(t.Context(), k, filepath.Join(two.dir, "root"))
	must(t, err)
	if got.Tree != e.Tree || len(got.Facts.SSHUnits) != 1 || !got.Made.Equal(e.Made) {
		t.Errorf("the second has %+v, the first %+v", got, e)
	}
	other := k
	other.Engine = "another"
	if err := repository.Pull(t.Context(), other, two.Cache); !errors.Is(err, rootcache.ErrMiss) {
		t.Errorf("a key that it has not gives %v", err)
	}
}

// rewriting is an answer whose body is changed on its way.
type rewriting struct {
	http.ResponseWriter
	change func([]byte) []byte
}

func (w rewriting) Write(p []byte) (int, error) {
	_, err := w.ResponseWriter.Write(w.change(bytes.Clone(p)))
	return len(p), err
}

func TestWhatARegistryAltersIsNotKept(t *testing.T) {
	flip := func(p []byte) []byte {
		if len(p) > 0 {
			p[len(p)/2] ^= 1
		}
		return p
	}
	for what, path := range map[string]string{"a blob": "/blobs/", "a manifest": "/manifests/"} {
		t.Run(what, func(t *testing.T) {
			meddling := false
			ref := serve(t, func(w http.ResponseWriter, r *http.Request, real http.Handler) {
				if meddling && r.Method == http.MethodGet && strings.Contains(r.URL.Path, path) {
					w = rewriting{w, flip}
				}
				real.ServeHTTP(w, r)
			})
			repository, err := Open(ref, Options{})
			must(t, err)
			one, two, k := newRunner(t), newRunner(t), theKey(t)
			must(t, repository.Push(t.Context(), one.made(t, k), one.Cache, false))
			meddling = true
			err = repository.Pull(t.Context(), k, two.Cache)
			if err == nil || two.Has(k.Digest()) || what == "a blob" && !errors.Is(err, rootcache.ErrUnsound) {
				t.Errorf("it is kept: %v", err)
			}
		})
	}
	t.Run("the tree of another key", func(t *testing.T) {
		repository, err := Open(serve(t, nil), Options{})
		must(t, err)
		one, two, k := newRunner(t), newRunner(t), theKey(t)
		other := k
		other.Engine = "another"
		e := one.made(t, k)
		image, discard, err := artifact(t.Context(), e, one.Cache)
		must(t, err)
		must(t, errors.Join(put(t.Context(), repository, other, image), discard()))
		if err := repository.Pull(t.Context(), other, two.Cache); !errors.Is(err, rootcache.ErrUnsound) || two.Has(k.Digest()) || two.Has(other.Digest()) {
			t.Errorf("it is kept: %v", err)
		}
		// Who made the right one puts it in its place.
		must(t, os.RemoveAll(filepath.Join(one.dir, "made")))
		right := one.made(t, other)
		must(t, repository.Push(t.Context(), right, one.Cache, false))
		if err := repository.Pull(t.Context(), other, two.Cache); err == nil {
			t.Error("what is there was replaced without being told so")
		}
		must(t, repository.Push(t.Context(), right, one.Cache, true))
		must(t, repository.Pull(t.Context(), other, two.Cache))
	})
	t.Run("what it refuses to give may be sound", func(t *testing.T) {
		refusing := false
		repository, err := Open(serve(t, func(w http.ResponseWriter, r *http.Request, real http.Handler) {
			if refusing && strings.Contains(r.URL.Path, "/blobs/") {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			real.ServeHTTP(w, r)
		}), Options{})
		must(t, err)
		one, two, k := newRunner(t), newRunner(t), theKey(t)
		must(t, repository.Push(t.Context(), one.made(t, k), one.Cache, false))
		refusing = true
		if err := repository.Pull(t.Context(), k, two.Cache); err == nil || errors.Is(err, rootcache.ErrUnsound) || two.Has(k.Digest()) {
			t.Errorf("%v", err)
		}
	})
}

func TestARegistryWithoutTLSIsOnThisHostOrAllowed(t *testing.T) {
	for ref, fine := range map[string]bool{
		"127.0.0.1:5000/roots": true, "localhost:5000/roots": true, "[::1]:5000/roots": true, "registry.example.org/ci/roots": true,
		"192.0.2.1:5000/roots": true, "10.0.0.1:5000/roots": false,
		"registry.example.org/ci/roots:tag": false, "roots": false, "": false, "registry.example.org/UPPER": false,
	} {
		if _, err := Open(ref, Options{}); (err == nil) != fine {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if _, err := Open("10.0.0.1:5000/roots", Options{Insecure: true}); err != nil {
		t.Error(err)
	}
}

func put(ctx context.Context, r *Repository, k rootcache.Key, image v1.Image) error {
	return remote.Write(r.tag(k.Digest()), image, r.how.Guarded(ctx)...)
}
