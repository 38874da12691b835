package hostlink

import (
	"context"
	"errors"
	"net"
	"time"
)

// acceptAgain is how long it takes until a connection is accepted again when
// that failed: for want of descriptors, say, which must not eat a CPU.
const acceptAgain = 100 * time.Millisecond

// takeAll hands every connection on until the listener is closed or ctx ends,
// which does not close the listener.
func takeAll(ctx context.Context, listener net.Listener, take func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil:
			take(conn)
			continue
		}
		select {
		case <-time.After(acceptAgain):
		case <-ctx.Done():
			return
		}
	}
}
