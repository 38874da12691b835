package hostlink

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

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

// relayPackets relays what clients send until the socket is closed. Each client
// has a socket of its own towards the machine, by which answers find back.
func (s *ports) relayPackets(socket net.PacketConn, p spec.Publish) {
	front, ok := socket.(*net.UDPConn)
	if !ok {
		return
	}
	var mu sync.Mutex
	clients := map[netip.AddrPort]net.Conn{}
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range clients {
			_ = c.Close() // its reader ends
		}
	}()
	packet := make([]byte, largest)
	for {
		n, from, err := front.ReadFromUDPAddrPort(packet)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // about an answer that could not be delivered
		}
		mu.Lock()
		machine, known := clients[from]
		if !known && len(clients) < conversations {
			if machine, err = s.dial(p); err == nil {
				clients[from] = machine
				known = true
				s.relays.Go(func() {
					answer(front, from, machine)
					mu.Lock()
					delete(clients, from)
					mu.Unlock()
				})
			}
		}
		mu.Unlock()
		if known {
			_ = machine.SetReadDeadline(time.Now().Add(silence)) // it may have ended
			_, _ = machine.Write(packet[:n])                     // packets get lost
		}
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
