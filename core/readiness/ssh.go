package readiness

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// talking is how long one SSH conversation may take before another is begun: the
// first login on a slow host starts a good deal in the machine.
const talking = 15 * time.Second

// errSlow says that a conversation took too long, which says nothing against
// the next.
var errSlow = errors.New("the conversation took too long")

// dial connects to the machine's port 22 through its own interface and no
// other: the socket is bound before it connects, and without that there is no
// connection. from is the address that it comes from, which the link may be yet
// to be given: another one of this host's would be let in nowhere.
func dial(ctx context.Context, iface string, from netip.Addr, address string) (net.Conn, error) {
	if iface == "" {
		return nil, errors.New("no interface to bind to")
	}
	var bind error
	d := net.Dialer{
		Timeout: time.Second,
		Control: func(_, _ string, raw syscall.RawConn) error {
			err := raw.Control(func(fd uintptr) {
				bind = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, iface)
			})
			if err = errors.Join(err, bind); err != nil {
				return fmt.Errorf("binding to the interface %s: %w", iface, err)
			}
			return nil
		},
	}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	return d.DialContext(ctx, "tcp", address)
}

// connect climbs from the open port to the last login. The ways of logging in
// are tried at the same time.
func (p *proof) connect(ctx context.Context) {
	if p.keyOnly {
		p.greet(ctx)
		return
	}
	if len(p.Logins) == 0 {
		p.failed(&Error{Rung: LoggedIn, Message: "no way of logging in to " + p.Name + " is known", Hint: "pass --ssh-key or a password option"})
		return
	}
	conn, banner := p.open(ctx)
	if conn == nil {
		return
	}
	p.reached(Answers, banner)
	var once sync.Once
	verified := func(key ssh.PublicKey) {
		once.Do(func() { p.reached(KeyIsOurs, ssh.FingerprintSHA256(key)) })
	}
	var tries sync.WaitGroup
	var refusals atomic.Int32
	var labels []string
	for i, login := range p.Logins {
		labels = append(labels, login.Label)
		first := conn
		if i > 0 {
			first = nil
		}
		tries.Go(func() {
			if !p.login(ctx, first, login, verified) {
				refusals.Add(1)
			}
		})
	}
	tries.Wait()
	if refusals.Load() == 0 {
		p.reached(LoggedIn, fmt.Sprintf("as %s by %s", p.User, strings.Join(labels, " and ")))
	}
}

// login logs in once, over conn if there is one. Before the machine is up, PAM
// may turn everybody away and a connection may fall to a restarting sshd: then
// it tries again afterwards.
func (p *proof) login(ctx context.Context, conn net.Conn, login Login, verified func(ssh.PublicKey)) bool {
	for {
		if conn == nil {
			if conn, _ = p.open(ctx); conn == nil {
				return false
			}
		}
		h := &handshake{want: p.HostKey, verified: verified}
		err := p.converse(ctx, conn, login, h)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if errors.Is(err, errWrongKey) || !errors.Is(err, errSlow) && !p.mayBeEarly(ctx) {
			p.failed(p.refused(login, h, err))
			return false
		}
		conn = nil
	}
}

// mayBeEarly tells whether the machine was still starting. It then waits until
// it is up.
func (p *proof) mayBeEarly(ctx context.Context) bool {
	select {
	case <-p.up:
		return false
	default:
	}
	select {
	case <-p.up:
		return true
	case <-ctx.Done():
		return false
	}
}

// open connects until something answers with an SSH banner. Silence and
// refusal are waited out, whatever else answers is a failure. The connection is
// nil when there is none to be had.
func (p *proof) open(ctx context.Context) (net.Conn, string) {
	address := net.JoinHostPort(p.Address.String(), "22")
	for pause := newBackoff(); ; {
		conn, err := dial(ctx, p.Interface, p.HostSide, address)
		if err == nil {
			greeted := &greetedConn{Conn: conn, r: bufio.NewReaderSize(conn, 4096)}
			var banner string
			if banner, err = greeted.banner(ctx); err == nil {
				return greeted, banner
			}
			_ = conn.Close() // another one is opened
		}
		if errors.Is(err, errNotSSH) {
			p.failed(&Error{
				Rung: Answers, Message: fmt.Sprintf("%s port 22 on %s does not speak SSH", p.Address, p.Interface),
				Hint: fmt.Sprintf("nspawn-build exec %s ss -ltnp", p.Name), Err: err,
			})
			return nil, ""
		}
		if !pause.wait(ctx) {
			return nil, "" // said by whoever ended the time
		}
	}
}

var errNotSSH = errors.New("no SSH banner")

// greetedConn is a connection whose banner was looked at and is still to be
// read.
type greetedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *greetedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// banner returns the software that the server says it is (RFC 4253, 4.2). Lines
// before the version are allowed there, and no sshd that we know sends any.
func (c *greetedConn) banner(ctx context.Context) (string, error) {
	deadline := time.Now().Add(5 * time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := c.SetDeadline(deadline); err != nil {
		return "", err
	}
	for n := 1; n <= 255; n++ {
		text, err := c.r.Peek(n)
		if err != nil {
			return "", err // closed, or silent: it may be starting
		}
		if text[n-1] != '\n' {
			continue
		}
		software, ok := bytes.CutPrefix(bytes.TrimRight(text, "\r\n"), []byte("SSH-2.0-"))
		if !ok || bytes.ContainsFunc(software, func(r rune) bool { return r < ' ' || r > '~' }) {
			return "", fmt.Errorf("%w but %q", errNotSSH, text)
		}
		return string(software), c.SetDeadline(time.Time{})
	}
	return "", fmt.Errorf("%w in the first 255 bytes", errNotSSH)
}

// handshake remembers how far the server got.
type handshake struct {
	want     ssh.PublicKey       // nil takes any
	verified func(ssh.PublicKey) // called when the key is the one that is wanted
	proven   bool
}

var errWrongKey = errors.New("the server has another host key")

func (h *handshake) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	if h.want != nil && !bytes.Equal(key.Marshal(), h.want.Marshal()) {
		return fmt.Errorf("%w: %s", errWrongKey, ssh.FingerprintSHA256(key))
	}
	h.proven = true
	h.verified(key)
	return nil
}

// algorithms are the signature algorithms of a key's type. No other host key
// is asked for; without one, any is.
func algorithms(key ssh.PublicKey) []string {
	if key == nil {
		return nil
	}
	if key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{key.Type()}
}

// converse logs in and runs a command. It closes conn.
func (p *proof) converse(ctx context.Context, conn net.Conn, login Login, h *handshake) (err error) {
	ctx, cancel := context.WithTimeout(ctx, talking)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = errors.Join(errSlow, err)
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, conn.RemoteAddr().String(), &ssh.ClientConfig{
		User: p.User, Auth: []ssh.AuthMethod{login.Method},
		HostKeyCallback: h.check, HostKeyAlgorithms: algorithms(h.want),
	})
	if err != nil {
		return errors.Join(err, closed(conn))
	}
	client := ssh.NewClient(c, channels, requests)
	defer func() { _ = client.Close() }() // all that was to be said is
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	if err := session.Run("true"); err != nil {
		return fmt.Errorf("running the command true: %w", err)
	}
	return nil
}

func closed(conn net.Conn) error {
	if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// refused says why a server that answers did not let us in.
func (p *proof) refused(login Login, h *handshake, err error) *Error {
	switch {
	case errors.Is(err, errWrongKey):
		return &Error{
			Rung: KeyIsOurs, Err: err,
			Message: fmt.Sprintf("the host key at %s is not the one that was generated for %s (%s)", p.Address, p.Name, ssh.FingerprintSHA256(p.HostKey)),
			Hint:    "something in the machine replaced it: destroy the machine and create it again",
		}
	case !h.proven && h.want == nil:
		return &Error{Rung: KeyIsOurs, Err: err, Message: p.Name + " proves no host key"}
	case !h.proven:
		return &Error{
			Rung: KeyIsOurs, Err: err,
			Message: fmt.Sprintf("%s does not offer the host key that was generated for it (%s)", p.Name, p.HostKey.Type()),
			Hint:    fmt.Sprintf("nspawn-build exec %s ls -l /etc/ssh", p.Name),
		}
	}
	return &Error{
		Rung: LoggedIn, Err: err,
		Message: fmt.Sprintf("%s does not let %s log in by %s", p.Name, p.User, login.Label),
		Hint:    fmt.Sprintf("nspawn-build exec %s sshd -T shows the settings in force", p.Name),
	}
}
