package hostlink

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

const (
	// silence is how long nothing may be said before a client's packets are
	// no longer taken for one conversation.
	silence = 90 * time.Second
	// conversations bounds how many there are at once on one port.
	conversations = 1024
	largest       = 64 << 10 // of a packet of UDP
)

// senders are who sends to one port. Each has a socket of its own towards the
// machine, by which answers find back.
type senders struct {
	mu      sync.Mutex
	sockets map[netip.AddrPort]net.Conn
}

// relayPackets relays what clients send until the socket is closed.
func (s *ports) relayPackets(socket net.PacketConn, p spec.Publish) {
	front, ok := socket.(*net.UDPConn)
	if !ok {
		return
	}
	clients := &senders{sockets: map[netip.AddrPort]net.Conn{}}
	defer clients.close()
	packet := make([]byte, largest)
	for {
		n, from, err := front.ReadFromUDPAddrPort(packet)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // about an answer that could not be delivered
		}
		// Once more by a new socket, where the old one has ended, or is bound to
		// the link of a machine that has rebooted since. Else packets get lost.
		for range 2 {
			machine := s.socketOf(clients, from, front, p)
			if machine == nil {
				break
			}
			_ = machine.SetReadDeadline(time.Now().Add(silence)) // it may have ended
			if _, err := machine.Write(packet[:n]); err == nil || errors.Is(err, unix.ECONNREFUSED) {
				break // which only says that nobody listens in the machine, yet
			}
			clients.forget(from, machine)
			_ = machine.Close() // its reader ends
		}
	}
}

// socketOf is a client's socket towards the machine, nil where none can be had.
// A new one has what the machine says brought to the client.
func (s *ports) socketOf(clients *senders, from netip.AddrPort, front *net.UDPConn, p spec.Publish) net.Conn {
	clients.mu.Lock()
	defer clients.mu.Unlock()
	if machine, known := clients.sockets[from]; known {
		return machine
	}
	if len(clients.sockets) >= conversations {
		return nil
	}
	machine, err := s.dial(p)
	if err != nil {
		return nil
	}
	clients.sockets[from] = machine
	s.relays.Go(func() {
		answer(front, from, machine)
		clients.forget(from, machine)
	})
	return machine
}

// forget takes out a client's socket, unless it has another one by now.
func (c *senders) forget(from netip.AddrPort, machine net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sockets[from] == machine {
		delete(c.sockets, from)
	}
}

func (c *senders) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, machine := range c.sockets {
		_ = machine.Close() // its reader ends
	}
}

// answer brings what the machine says to one client, until both are silent.
func answer(front *net.UDPConn, to netip.AddrPort, machine net.Conn) {
	defer func() { _ = machine.Close() }()
	packet := make([]byte, largest)
	for {
		n, err := machine.Read(packet)
		var late net.Error
		switch {
		case errors.Is(err, net.ErrClosed), errors.As(err, &late) && late.Timeout():
			return
		case err != nil:
			continue // nobody listens in the machine, yet
		}
		if _, err := front.WriteToUDPAddrPort(packet[:n], to); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}
