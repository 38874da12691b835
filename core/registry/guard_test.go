package registry

import (
	"net/http"
	"strings"
	"testing"
)

func TestARegistryLeadsNobodyAstray(t *testing.T) {
	const registry = "https://registry.example.org/v2/x"
	for _, tt := range []struct {
		from, to string
		insecure bool
		words    string // "" means that it is fetched
	}{
		{to: registry + "/manifests/1"},
		{to: "http://127.0.0.1:5000/v2/x/manifests/1"},
		{to: "http://registry.example.org/token", words: "without TLS"},
		{to: "http://registry.example.org/token", insecure: true},
		{from: registry + "/blobs/sha256:1", to: "https://cdn.example.org/1"},
		{from: registry + "/blobs/sha256:1", to: "http://cdn.example.org/1", words: "without TLS"},
		{from: registry + "/blobs/sha256:1", to: "http://127.0.0.1:80/admin", words: "which is this host"},
		{from: registry + "/blobs/sha256:1", to: "https://localhost/admin", words: "which is this host"},
		{from: registry + "/manifests/1", to: registry + "/manifests/sha256:1"},
		{from: registry + "/manifests/1", to: "https://other.example.org/v2/x/manifests/1", words: "its own to give"},
	} {
		request := func(url string) *http.Request {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		req := request(tt.to)
		if tt.from != "" {
			req.Response = &http.Response{Request: request(tt.from)}
		}
		got := guard{insecure: tt.insecure}.reason(req)
		if (got == "") != (tt.words == "") || !strings.Contains(got, tt.words) {
			t.Errorf("from %q to %s: %q, want %q", tt.from, tt.to, got, tt.words)
		}
	}
}

func TestOnlyATagOrADigestNamesAnArtifact(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for ref, fine := range map[string]bool{
		"registry.example.org/x:1": true, "registry.example.org/x" + digest: true, "registry.example.org/x:1" + digest: true,
		"127.0.0.1:5000/x:1": true, "10.0.0.1/x:1": false, "registry.example.org/x": false, "registry.example.org/x@sha256:0": false, "": false,
	} {
		if _, err := (Options{}).Reference(ref); (err == nil) != fine {
			t.Errorf("%q: %v", ref, err)
		}
	}
}
