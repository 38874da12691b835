//go:build integration

package integration

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	served "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// registryName is where hosts find the registry; without TLS.
const registryName = "registry.test"

// registryHost is a registry that several hosts share, and this machine too.
type registryHost struct {
	http.Handler
	loopback string // host and port, as this machine finds it
	blobs    string // the directory that they are in
}

// newRegistry starts one whose blobs are on disk.
func newRegistry(t *testing.T) *registryHost {
	t.Helper()
	r := &registryHost{blobs: t.TempDir()}
	files := served.NewDiskBlobHandler(r.blobs)
	store, ok := files.(served.BlobPutHandler)
	if !ok {
		t.Fatal("the registry keeps nothing")
	}
	r.Handler = served.New(served.Logger(log.New(io.Discard, "", 0)), served.WithBlobHandler(blobs{files, store}))
	server := httptest.NewServer(r.Handler)
	t.Cleanup(server.Close)
	r.loopback = strings.TrimPrefix(server.URL, "http://")
	return r
}

// blobs are files that the registry, as most do, takes for what they were when
// they were put.
type blobs struct {
	served.BlobHandler
	served.BlobPutHandler
}

// Get reads a blob, whatever is in it by now.
func (b blobs) Get(ctx context.Context, repo string, h v1.Hash) (io.ReadCloser, error) {
	r, err := b.BlobHandler.Get(ctx, repo, h)
	if errors.Is(err, os.ErrNotExist) {
		err = served.ErrNotFound
	}
	return r, err
}

// image is one that the registry has, by tag or digest.
func (r *registryHost) image(t *testing.T, ref string) (name.Reference, v1.Image) {
	t.Helper()
	parsed, err := name.ParseReference(r.loopback + "/" + ref)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(parsed, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return parsed, image
}

// put makes a tag that of an image, whatever it was of.
func (r *registryHost) put(t *testing.T, ref string, image v1.Image) {
	t.Helper()
	tag, err := name.NewTag(r.loopback + "/" + ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// layer is the file of the one layer of an image.
func (r *registryHost) layer(t *testing.T, ref string) string {
	t.Helper()
	_, image := r.image(t, ref)
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Layers) != 1 {
		t.Fatalf("it has %d layers", len(manifest.Layers))
	}
	h := manifest.Layers[0].Digest
	return filepath.Join(r.blobs, h.Algorithm, h.Hex)
}

// asked counts what was asked of a site.
type asked struct {
	http.Handler
	mu    sync.Mutex
	paths []string
}

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.paths = append(a.paths, r.URL.Path)
	a.mu.Unlock()
	a.Handler.ServeHTTP(w, r)
}

// of are those paths that have a part in them.
func (a *asked) of(part string) (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.paths {
		if strings.Contains(p, part) {
			all = append(all, p)
		}
	}
	return all
}
