package image_test

import (
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	served "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/registry"
)

func TestALayoutIsPushedAndHadByItsDigest(t *testing.T) {
	server := httptest.NewServer(served.New(served.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	index, err := random.Index(2048, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(path, index); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	tag, err := registry.Options{}.Tag(host + "/images/web:1.2")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := image.Push(t.Context(), path, tag, registry.Options{})
	if err != nil || !strings.HasPrefix(ref, host+"/images/web@sha256:") {
		t.Fatalf("%q, %v", ref, err)
	}
	got, err := remote.Image(tag.Digest(strings.SplitN(ref, "@", 2)[1]))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
}
