package testrepo

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Serve serves the repository over HTTP on the loopback interface until the
// test ends, and returns what --mirror takes. A real mirror serves itself.
func (r *Repo) Serve(t testing.TB) string {
	t.Helper()
	if r.mirror != "" {
		return r.mirror
	}
	server := httptest.NewServer(http.FileServer(http.Dir(r.Dir)))
	t.Cleanup(server.Close)
	return server.URL + "/" + distributions[r.distribution].layout
}
