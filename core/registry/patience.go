package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// How long a registry may be silent, unless Options say otherwise. One that is
// given a large blob moves it to its place before it answers.
const (
	silentFetch  = 30 * time.Second
	silentUpload = 5 * time.Minute
)

// atMost bounds a fetch in all: else a byte now and then would be enough.
const atMost = 30 * time.Minute

// Fetching is the context to fetch from a registry in, by Guarded: it ends when
// nothing has come for a while, or when all of it takes too long. Its cause says
// so, and Cause finds it.
func (o Options) Fetching(ctx context.Context, registry string) (_ context.Context, end func()) {
	bounded, stop := context.WithTimeoutCause(ctx, atMost, fmt.Errorf("%s took more than %s", registry, atMost))
	within, ended := patient(bounded, o.orElse(silentFetch), registry)
	return within, func() { ended(); stop() }
}

// Uploading is Fetching for uploads, which are as long as they have to be.
func (o Options) Uploading(ctx context.Context, registry string) (_ context.Context, end func()) {
	return patient(ctx, o.orElse(silentUpload), registry)
}

func (o Options) orElse(usual time.Duration) time.Duration {
	if o.Patience != 0 {
		return o.Patience
	}
	return usual
}

// Cause is why something failed within a context of Fetching or Uploading, which
// was made of ctx: nil, unless the patience with the registry was at its end.
func Cause(ctx, within context.Context) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // that ctx has ended is not the registry's fault
	}
	return context.Cause(within)
}

func patient(parent context.Context, limit time.Duration, registry string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	p := &patience{limit: limit, timer: time.AfterFunc(limit, func() { cancel(fmt.Errorf("%s has sent nothing for %s", registry, limit)) })}
	p.timer.Stop()
	return context.WithValue(ctx, patienceKey{}, p), func() { p.timer.Stop(); cancel(nil) }
}

type patienceKey struct{}

// patience runs out while a registry is waited for, and never while this host
// is busy with what came.
type patience struct {
	limit time.Duration
	timer *time.Timer

	mu      sync.Mutex
	waiting int // requests and reads
}

// waits adds to who waits; something has come or gone.
func (p *patience) waits(change int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting += change; p.waiting > 0 {
		p.timer.Reset(p.limit)
	} else {
		p.timer.Stop()
	}
}

// roundTrip is that of inner, under the patience of a request's context.
func roundTrip(inner http.RoundTripper, req *http.Request) (*http.Response, error) {
	p, ok := req.Context().Value(patienceKey{}).(*patience)
	if !ok {
		return inner.RoundTrip(req)
	}
	sent := req
	if req.Body != nil && req.Body != http.NoBody {
		sent = req.Clone(req.Context()) // what we were given is not ours to change
		sent.Body = sending{req.Body, p}
	}
	p.waits(+1)
	defer p.waits(-1)
	resp, err := inner.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	resp.Request, resp.Body = req, coming{resp.Body, p}
	return resp, nil
}

// sending is the body of a request, which goes while the answer is waited for.
type sending struct {
	io.ReadCloser
	p *patience
}

func (s sending) Read(b []byte) (int, error) {
	s.p.waits(0)
	return s.ReadCloser.Read(b)
}

// coming is the body of an answer.
type coming struct {
	io.ReadCloser
	p *patience
}

func (c coming) Read(b []byte) (int, error) {
	c.p.waits(+1)
	defer c.p.waits(-1)
	return c.ReadCloser.Read(b)
}
