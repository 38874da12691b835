package hostlink

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// poor is a listener that has no descriptors for a while, and then one
// connection.
type poor struct {
	net.Listener
	failures int
	asked    atomic.Int64
	closed   chan struct{}
}

func (p *poor) Accept() (net.Conn, error) {
	switch n := p.asked.Add(1); {
	case n <= int64(p.failures):
		return nil, &net.OpError{Op: "accept", Err: unix.EMFILE}
	case n == int64(p.failures)+1:
		a, b := net.Pipe()
		return a, b.Close()
	}
	<-p.closed
	return nil, net.ErrClosed
}

func TestAHostWithoutDescriptorsIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &poor{failures: 5, closed: make(chan struct{})}
		begin, taken := time.Now(), 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			takeAll(t.Context(), l, func(c net.Conn) {
				taken++
				_ = c.Close() // nothing was written
			})
		}()
		synctest.Wait()
		if n := l.asked.Load(); n != 1 {
			t.Errorf("it was asked %d times without a pause", n)
		}
		time.Sleep(time.Duration(l.failures) * acceptAgain)
		synctest.Wait()
		close(l.closed)
		<-done
		if took := time.Since(begin); taken != 1 || took != time.Duration(l.failures)*acceptAgain {
			t.Errorf("%d connections were taken after %v", taken, took)
		}
	})
}

func TestAPauseBetweenConnectionsEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &poor{failures: 1 << 30}
		begin := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			takeAll(ctx, l, func(net.Conn) { t.Error("there was a connection") })
		}()
		synctest.Wait()
		cancel()
		<-done
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v of the pause", took)
		}
	})
}
