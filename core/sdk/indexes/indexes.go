// Package indexes tells what repositories hold now, by the digests of their
// indexes: it is what a plugin's State needs. It downloads to nowhere, keeps
// nothing, and is over within seconds whoever does not answer.
//
// A digest from here says whether something is as it was, and nothing of whose
// it is: signatures are checked when a tree is made.
package indexes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Bounds: of all that is asked, of one index, and of what is read of an answer
// to find out where one is.
const (
	patience  = 10 * time.Second
	maxIndex  = 64 << 20
	MaxAnswer = 4 << 20
)

// Index is one index of a repository.
type Index struct {
	Name string // by which people know it, such as trixie-updates
	// Digest finds it out.
	Digest func(ctx context.Context, c *Client) (string, error)
}

// Client asks mirrors.
type Client struct{ http *http.Client }

// NewClient returns a client that goes by the proxies of the environment, and by
// those that proxy names for a scheme: none if it is nil or says nothing.
func NewClient(proxy func(scheme, host string) string) *Client {
	transport := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if proxy != nil {
				switch named := proxy(r.URL.Scheme, r.URL.Hostname()); named {
				case "":
				case "DIRECT":
					return nil, nil //nolint:nilnil // which is how net/http has it
				default:
					return url.Parse(named)
				}
			}
			return http.ProxyFromEnvironment(r)
		},
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 5 * time.Second,
		MaxIdleConnsPerHost:   4,
		ForceAttemptHTTP2:     true,
	}
	return &Client{&http.Client{Transport: transport}}
}

// Close ends what is open to mirrors.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// All finds out the digests of all indexes at once. One that cannot be had fails
// all of them, as a *sdk.Failure.
func All(ctx context.Context, c *Client, all []Index) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	digests := make([]string, len(all))
	group, ctx := errgroup.WithContext(ctx)
	for i, index := range all {
		group.Go(func() (err error) {
			if digests[i], err = index.Digest(ctx, c); err != nil {
				return &sdk.Failure{
					Code: sdk.CodeMirror, Message: "what " + index.Name + " holds cannot be told: " + plain(err),
					Hint: "see whether the mirror can be reached", Err: err,
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	state := map[string]string{}
	for i, index := range all {
		state[index.Name] = digests[i]
	}
	return state, nil
}

// plain is an error without the method that net/http puts before it.
func plain(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.URL + ": " + wrapped.Err.Error()
	}
	return err.Error()
}

// notThere is the answer of a mirror that has no such file.
type notThere struct{ address, status string }

func (e *notThere) Error() string { return e.address + ": " + e.status }

// Of is the digest of the first of several files that a mirror has.
func (c *Client) Of(ctx context.Context, addresses ...string) (string, error) {
	var first error
	for _, address := range addresses {
		digest, err := c.of(ctx, address)
		if err == nil {
			return digest, nil
		}
		if first == nil {
			first = err
		}
	}
	return "", first
}

func (c *Client) of(ctx context.Context, address string) (digest string, err error) {
	body, err := c.open(ctx, http.MethodGet, address)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(body, maxIndex+1))
	if err == nil && n > maxIndex {
		err = fmt.Errorf("%s is longer than any index", address)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), err
}

// Stamp is the digest of a large file of a mirror, or of what stands for it:
// over HTTP its length and the second of its last change, where the mirror tells
// both.
func (c *Client) Stamp(ctx context.Context, address string) (string, error) {
	if !strings.HasPrefix(address, "http") {
		return c.of(ctx, address)
	}
	r, err := c.ask(ctx, http.MethodHead, address)
	if err != nil {
		return "", err
	}
	if err := r.Body.Close(); err != nil {
		return "", err
	}
	changed, err := http.ParseTime(r.Header.Get("Last-Modified"))
	if err != nil || r.ContentLength <= 0 {
		return c.of(ctx, address)
	}
	return fmt.Sprintf("%d bytes of %s", r.ContentLength, changed.UTC().Format(time.RFC3339)), nil
}

// Read reads a small file of a mirror.
func (c *Client) Read(ctx context.Context, address string) (text []byte, err error) {
	body, err := c.open(ctx, http.MethodGet, address)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	text, err = io.ReadAll(io.LimitReader(body, MaxAnswer+1))
	if err == nil && len(text) > MaxAnswer {
		err = fmt.Errorf("%s is too long", address)
	}
	return text, err
}

func (c *Client) open(ctx context.Context, method, address string) (io.ReadCloser, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		f, err := os.Open(path.Clean("/" + u.Path))
		if err != nil {
			return nil, err
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			return nil, errors.Join(fmt.Errorf("%s is no file", u.Path), err, f.Close())
		}
		return f, nil
	}
	r, err := c.ask(ctx, method, address)
	if err != nil {
		return nil, err
	}
	return r.Body, nil
}

// ask returns the answer if it is that there is something.
func (c *Client) ask(ctx context.Context, method, address string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	// What an index is compressed by on its way is none of its bytes.
	request.Header.Set("Accept-Encoding", "identity")
	r, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, errors.Join(&notThere{address, r.Status}, r.Body.Close())
	}
	return r, nil
}
