package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// maxManifest is more than a manifest of any use has.
const maxManifest = 4 << 20

// maxRedirects is more than a registry needs. The library has no bound.
const maxRedirects = 5

// Guarded is how the library is to speak to registries, none of which is
// trusted: nothing is fetched without TLS but from this host, unless that is allowed, wherever
// one is redirected to; a manifest comes from the registry itself; a blob may
// come from elsewhere, as large registries do it, but not from this host.
func (o Options) Guarded(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithUserAgent("nspawn-build"), remote.WithTransport(guard{remote.DefaultTransport, o.Insecure}),
	}
}

// RefusedError is a request that a registry would have had us make.
type RefusedError struct {
	URL    string
	Reason string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s is not fetched: %s", e.URL, e.Reason) }

type guard struct {
	inner    http.RoundTripper
	insecure bool
}

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if reason := g.reason(req); reason != "" {
		where := req.URL.Scheme + "://" + req.URL.Host // the rest may hold a secret of a CDN
		return nil, &RefusedError{where, reason}
	}
	resp, err := roundTrip(g.inner, req)
	if err == nil && strings.Contains(req.URL.Path, "/manifests/") {
		resp.Body = limited{io.LimitReader(resp.Body, maxManifest), resp.Body}
	}
	return resp, err
}

// reason is why a request is not made; "" when it is.
func (g guard) reason(req *http.Request) string {
	if req.URL.Scheme != "https" && !g.insecure && !loopback(req.URL.Host) {
		return "that would be without TLS"
	}
	if req.Response == nil || req.Response.Request == nil {
		return ""
	}
	from, hops := req.Response.Request.URL, 0
	for at := req.Response; at != nil && at.Request != nil; at = at.Request.Response {
		hops++
	}
	switch {
	case hops > maxRedirects:
		return "there are too many redirects"
	case from.Host == req.URL.Host:
		return ""
	case strings.Contains(from.Path, "/manifests/"):
		return from.Host + " redirects to it, and a manifest is its own to give"
	case loopback(req.URL.Host) && !loopback(from.Host):
		return from.Host + " redirects to it, which is this host"
	}
	return ""
}

// limited reads no more than its Reader does, and closes the whole.
type limited struct {
	io.Reader
	io.Closer
}
