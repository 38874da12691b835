package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// probeHost is the one name that there is in a run's network. Names below test
// are for tests (RFC 6761).
const probeHost = "verify.nspawn-build.test"

// probeAddress is its address: of another network for documentation.
var probeAddress = netip.MustParseAddr("198.51.100.7")

// serveDNS answers on the host's side of the link, until what it returns is closed.
func serveDNS(at netip.Addr) (io.Closer, error) {
	address := netip.AddrPortFrom(at, 53)
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
	if err != nil {
		return nil, fmt.Errorf("a DNS server: %w", err)
	}
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(address))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a DNS server: %w", err), udp.Close())
	}
	go answerPackets(udp)
	go answerConnections(tcp)
	return closers{udp, tcp}, nil
}

type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, one := range c {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

func answerPackets(conn *net.UDPConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // about an answer that nobody took
		}
		if reply, err := answer(buf[:n]); err == nil {
			_, _ = conn.WriteToUDPAddrPort(reply, from) // it asks again
		}
	}
}

func answerConnections(l *net.TCPListener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			for converseDNS(conn) == nil {
			}
		}()
	}
}

// converseDNS answers one question of a connection, where lengths go before.
func converseDNS(conn io.ReadWriter) error {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return err
	}
	question := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return err
	}
	reply, err := answer(question)
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	return err
}

// answer is the reply to a question.
func answer(message []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return nil, err
	}
	if h.Response {
		return nil, errors.New("not a question")
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	name := dnsmessage.MustNewName(probeHost + ".")
	known := q.Name.String() == name.String() && q.Class == dnsmessage.ClassINET
	reply := dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, Authoritative: true,
		RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	}
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, reply)
	if err := errors.Join(b.StartQuestions(), b.Question(q), b.StartAnswers()); err != nil {
		return nil, err
	}
	if known && q.Type == dnsmessage.TypeA {
		err := b.AResource(
			dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
			dnsmessage.AResource{A: probeAddress.As4()},
		)
		if err != nil {
			return nil, err
		}
	}
	return b.Finish()
}
