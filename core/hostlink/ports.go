package hostlink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
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
	open   map[spec.Publish]interface{ Close() error }
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
	s := newPorts(ctx, l)
	if err := s.change(l.Publish); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func newPorts(ctx context.Context, l Link) *ports {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &ports{link: l, ctx: ctx, cancel: cancel, open: map[spec.Publish]interface{ Close() error }{}}
}

// change listens on the wanted ports and on no others. Those that stay are not
// touched, nor is any connection that is open. When it fails, all is as it was.
func (s *ports) change(wanted []spec.Publish) error {
	var closed, opened []spec.Publish
	for p := range s.open {
		if !slices.Contains(wanted, p) {
			closed = append(closed, p)
		}
	}
	// First, for one may be in the way of another.
	for _, p := range closed {
		s.shut(p)
	}
	for _, p := range wanted {
		if _, is := s.open[p]; is {
			continue
		}
		if err := s.listen(p); err != nil {
			for _, o := range opened {
				s.shut(o)
			}
			for _, c := range closed {
				err = errors.Join(err, s.listen(c))
			}
			return err
		}
		opened = append(opened, p)
	}
	return nil
}

func (s *ports) shut(p spec.Publish) {
	_ = s.open[p].Close() // nothing is written any more
	delete(s.open, p)
}

func (s *ports) listen(p spec.Publish) error {
	socket, err := bind(s.ctx, p, true)
	if err != nil {
		return err
	}
	s.open[p] = socket
	switch socket := socket.(type) {
	case net.Listener:
		s.relays.Go(func() { s.relayStreams(socket, p) })
	case net.PacketConn:
		s.relays.Go(func() { s.relayPackets(socket, p) })
	}
	return nil
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
	if p.Protocol == "udp" && s.link.HostSide.IsValid() {
		// A conversation keeps the address that it began with: on a link that is
		// still without one it would be another of this host's.
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.link.HostSide.Addr(), 0))
	}
	return dialer.DialContext(s.ctx, p.Protocol+"4", net.JoinHostPort(s.link.Address.Addr().String(), strconv.Itoa(int(p.Machine))))
}

// relayStreams relays every connection until the listener is closed.
func (s *ports) relayStreams(listener net.Listener, p spec.Publish) {
	takeAll(s.ctx, listener, func(client net.Conn) {
		s.relays.Go(func() { s.relayStream(client, p) })
	})
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
