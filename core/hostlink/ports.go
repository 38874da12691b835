package hostlink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// ports are the sockets of published ports. They keep the ports from anybody
// else, and relay what the rules do not lead to the machine: what this host
// sends itself over loopback, for which a packet would have to leave with the
// address 127.0.0.1 and come back from the machine to it.
type ports struct {
	link   Link
	ctx    context.Context //nolint:containedctx // the life of the relays
	cancel context.CancelFunc
	open   []interface{ Close() error }
	relays sync.WaitGroup
}

// TakenError says that a port of the host cannot be published.
type TakenError struct {
	Publish spec.Publish
	Problem string // reads on after the port
	Hint    string
}

func (e *TakenError) Error() string { return fmt.Sprintf("published port %s %s", e.Publish, e.Problem) }

// Free tells whether ports can be published at this moment: no program of this
// host has one, and every address is this host's. It touches nothing.
func Free(ctx context.Context, wanted []spec.Publish) error {
	for _, p := range wanted {
		s, err := bind(ctx, p, false)
		if err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// openPorts listens on every published port. Relaying begins at once, succeeds
// when the machine is up, and goes on until the ports are closed.
func openPorts(ctx context.Context, l Link) (*ports, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &ports{link: l, ctx: ctx, cancel: cancel}
	for _, p := range l.Publish {
		socket, err := bind(ctx, p, true)
		if err != nil {
			s.close()
			return nil, err
		}
		s.open = append(s.open, socket)
		switch socket := socket.(type) {
		case net.Listener:
			s.relays.Go(func() { s.relayStreams(socket, p) })
		case net.PacketConn:
			s.relays.Go(func() { s.relayPackets(socket, p) })
		}
	}
	return s, nil
}

// bind opens the socket of one port. early allows an address that this host
// has not got yet, as that of a link which is still coming up.
func bind(ctx context.Context, p spec.Publish, early bool) (interface{ Close() error }, error) {
	at := netip.IPv4Unspecified()
	if p.Address.IsValid() {
		at = p.Address
	}
	address := netip.AddrPortFrom(at, p.Host).String()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		if !early {
			return nil
		}
		return setOption(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1) })
	}}
	var socket interface{ Close() error }
	var err error
	if p.Protocol == "udp" {
		socket, err = config.ListenPacket(ctx, "udp4", address)
	} else {
		socket, err = config.Listen(ctx, "tcp4", address)
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, &TakenError{p, "is taken by " + holder(p), "publish under another port of this host, or stop what has it"}
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, &TakenError{p, "begins with an address that this host does not have", "leave the address out to publish on all of them"}
	case err != nil:
		return nil, fmt.Errorf("published port %s: %w", p, err)
	}
	return socket, nil
}

func setOption(raw syscall.RawConn, set func(fd int) error) error {
	var failure error
	err := raw.Control(func(fd uintptr) { failure = set(int(fd)) })
	return errors.Join(err, failure)
}

// dial reaches the machine by its own link and never by another: its address
// may be somebody else's behind the default route.
func (s *ports) dial(p spec.Publish) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
		return setOption(raw, func(fd int) error { return unix.BindToDevice(fd, s.link.Interface) })
	}}
	return dialer.DialContext(s.ctx, p.Protocol+"4", net.JoinHostPort(s.link.Address.Addr().String(), strconv.Itoa(int(p.Machine))))
}

// relayStreams relays every connection until the listener is closed.
func (s *ports) relayStreams(listener net.Listener, p spec.Publish) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors left, say
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.relays.Go(func() { s.relayStream(client, p) })
	}
}

func (s *ports) relayStream(client net.Conn, p spec.Publish) {
	defer func() { _ = client.Close() }()
	machine, err := s.dial(p)
	if err != nil {
		refuse(client)
		return
	}
	defer func() { _ = machine.Close() }()
	defer context.AfterFunc(s.ctx, func() { _, _ = client.Close(), machine.Close() })()
	var up sync.WaitGroup
	up.Go(func() { pump(machine, client) })
	pump(client, machine)
	up.Wait()
}

// refuse has the client see a reset, as if nobody had listened.
func refuse(client net.Conn) {
	if c, ok := client.(*net.TCPConn); ok {
		_ = c.SetLinger(0) // the connection ends either way
	}
}

// pump copies until the sender is done, and tells the receiver so.
func pump(to, from net.Conn) {
	t, tok := to.(*net.TCPConn)
	f, fok := from.(*net.TCPConn)
	if !tok || !fok {
		return
	}
	_, err := t.ReadFrom(f)
	if err == nil {
		_ = t.CloseWrite() // it may have ended
		return
	}
	_, _ = t.Close(), f.Close() // one of them broke
}

func (s *ports) close() {
	s.cancel()
	for _, socket := range s.open {
		_ = socket.Close() // nothing is written any more
	}
	s.relays.Wait()
}
