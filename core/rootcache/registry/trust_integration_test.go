//go:build integration

package registry

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nspawn-build/nspawn-build/core/rootcache"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// silentAfter has a handler say nothing any more when it is asked for a path,
// with so many bytes of an answer sent.
func silentAfter(path, sent string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		if !strings.Contains(r.URL.Path, path) {
			inner.ServeHTTP(w, r)
			return
		}
		// Only then the end of the connection is seen.
		_, _ = io.Copy(io.Discard, r.Body)
		if sent != "" {
			_, _ = io.WriteString(w, sent)
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

func TestARegistryThatIsSilentIsNotWaitedForForEver(t *testing.T) {
	for what, c := range map[string]struct{ path, sent string }{
		"at once": {"/v2/", ""}, "of manifests": {"/manifests/", ""},
		"of blobs": {"/blobs/", ""}, "amid a manifest": {"/manifests/", "{"}, "amid a blob": {"/blobs/", "{"},
	} {
		t.Run(what, func(t *testing.T) {
			silent := silentAfter(c.path, c.sent)
			meddling := false
			ref := serve(t, func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
				if meddling {
					silent(w, r, inner)
				} else {
					inner.ServeHTTP(w, r)
				}
			})
			how := Options{Patience: 300 * time.Millisecond}
			patient, err := Open(ref, Options{})
			must(t, err)
			repository, err := Open(ref, how)
			must(t, err)
			one, two, k := newRunner(t), newRunner(t), theKey(t)
			e := one.made(t, k)
			must(t, patient.Push(t.Context(), e, one.Cache, false))
			meddling = true
			const words = "has sent nothing for 300ms"
			if err := repository.Pull(t.Context(), k, two.Cache); err == nil || !strings.Contains(err.Error(), words) || errors.Is(err, rootcache.ErrUnsound) || two.Has(k.Digest()) {
				t.Errorf("it is pulled: %v", err)
			}
			if c.sent != "" {
				return // what is uploaded is answered as it is, or not
			}
			elsewhere, err := Open(ref+"/empty", how)
			must(t, err)
			if err := elsewhere.Push(t.Context(), e, one.Cache, false); err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("it is pushed: %v", err)
			}
		})
	}
}

// A host that works longer than the patience with a registry lasts has the tree
// all the same.
func TestPatienceRunsOutOnlyWhileARegistryIsWaitedFor(t *testing.T) {
	within, end := Options{Patience: 50 * time.Millisecond}.Fetching(t.Context(), "it")
	defer end()
	time.Sleep(200 * time.Millisecond)
	if err := context.Cause(within); err != nil {
		t.Error(err)
	}
}

// elsewhere is a world of hosts, in none of which anything is asked of a network.
type elsewhere map[string]http.Handler

// RoundTrip implements http.RoundTripper.
func (e elsewhere) RoundTrip(req *http.Request) (*http.Response, error) {
	host := e[req.URL.Scheme+"://"+req.URL.Host]
	if host == nil {
		return nil, errors.New("there is no " + req.URL.String())
	}
	if req.Body == nil {
		req = req.Clone(req.Context())
		req.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	host.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func TestARegistryLeadsNobodyWhoPullsAstray(t *testing.T) {
	usual := remote.DefaultTransport
	t.Cleanup(func() { remote.DefaultTransport = usual })
	real := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	var path, to string
	asked := map[string]bool{}
	seen := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked[name] = true
			real.ServeHTTP(w, r)
		})
	}
	remote.DefaultTransport = elsewhere{
		"https://registry.example.org": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if to != "" && r.Method == http.MethodGet && strings.Contains(r.URL.Path, path) {
				http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
				return
			}
			real.ServeHTTP(w, r)
		}),
		"http://registry.example.org": seen("plain"), "https://other.example.org": seen("other"),
		"http://other.example.org": seen("plain"), "https://localhost": seen("this host"), "http://127.0.0.1:80": seen("this host"),
	}
	repository, err := Open("registry.example.org/ci/roots", Options{})
	must(t, err)
	one, k := newRunner(t), theKey(t)
	must(t, repository.Push(t.Context(), one.made(t, k), one.Cache, false))
	for _, tt := range []struct{ path, to, words string }{
		// The library makes that the https that it was.
		{"/manifests/", "http://registry.example.org", "too many redirects"},
		{"/manifests/", "http://other.example.org", "without TLS"},
		{"/manifests/", "https://other.example.org", "its own to give"},
		{"/blobs/", "https://other.example.org", ""},
		{"/blobs/", "http://other.example.org", "without TLS"},
		{"/blobs/", "https://localhost", "this host"},
		{"/blobs/", "http://127.0.0.1:80", "denied"}, // by the library
	} {
		path, to = tt.path, tt.to
		clear(asked)
		two := newRunner(t)
		err := repository.Pull(t.Context(), k, two.Cache)
		if tt.words == "" {
			if err != nil || !asked["other"] {
				t.Errorf("%s from %s: %v, asked were %v", path, to, err, asked)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.words) || errors.Is(err, rootcache.ErrUnsound) || two.Has(k.Digest()) || len(asked) > 0 {
			t.Errorf("%s from %s: %v, asked were %v", path, to, err, asked)
		}
	}
}

func TestWhatARegistrySaysOfATreeIsHeldToTheRules(t *testing.T) {
	for what, spoil := range map[string]func(*rootcache.Entry){
		"a million packages":  func(e *rootcache.Entry) { e.Facts.Packages = make([]sdk.Package, 1_000_000) },
		"a unit that escapes": func(e *rootcache.Entry) { e.Facts.SSHUnits = []string{"\x1b[31m.service"} },
		"a host that is none": func(e *rootcache.Entry) { e.Facts.ProbeHost = "-oProxyCommand=x" },
	} {
		repository, err := Open(serve(t, nil), Options{})
		must(t, err)
		one, two, k := newRunner(t), newRunner(t), theKey(t)
		e := one.made(t, k)
		spoil(&e)
		must(t, repository.Push(t.Context(), e, one.Cache, false))
		err = repository.Pull(t.Context(), k, two.Cache)
		if !errors.Is(err, rootcache.ErrUnsound) || two.Has(k.Digest()) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %.200v", what, err)
		}
	}
}

// One that is too large for this host may do for the next.
func TestATreeThatIsTooLargeForThisHostIsNotUnsound(t *testing.T) {
	repository, err := Open(serve(t, nil), Options{})
	must(t, err)
	one, two, k := newRunner(t), newRunner(t), theKey(t)
	must(t, repository.Push(t.Context(), one.made(t, k), one.Cache, false))
	two.MaxSize = 1 << 20
	if err := repository.Pull(t.Context(), k, two.Cache); !errors.Is(err, rootcache.ErrTooLarge) || errors.Is(err, rootcache.ErrUnsound) || two.Has(k.Digest()) {
		t.Errorf("%v", err)
	}
}
