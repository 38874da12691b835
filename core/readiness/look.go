package readiness

import (
	"context"
	"errors"

	"golang.org/x/crypto/ssh"
)

// Look climbs the same rungs as Prove but for the login: it needs no key in
// the machine, and leaves nothing there but sshd's word of a visitor who left.
// The target's Logins are not looked at.
func Look(ctx context.Context, t Target, report func(Rung)) error {
	t.keyOnly, t.Logins = true, nil
	return Prove(ctx, t, report)
}

// skips tells whether a rung is left out.
func (p *proof) skips(s Step) bool { return p.keyOnly && s == LoggedIn || !p.climbs(s) }

// greet talks to the SSH server until it has proven its key, and goes.
func (p *proof) greet(ctx context.Context) {
	conn, banner := p.open(ctx)
	if conn == nil {
		return
	}
	p.reached(Answers, banner)
	ctx, cancel := context.WithTimeout(ctx, talking)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	h := &handshake{want: p.HostKey, verified: func(key ssh.PublicKey) { p.reached(KeyIsOurs, ssh.FingerprintSHA256(key)) }}
	client, _, _, err := ssh.NewClientConn(conn, conn.RemoteAddr().String(), &ssh.ClientConfig{
		User: p.User, HostKeyCallback: h.check, HostKeyAlgorithms: algorithms(h.want),
	})
	if err == nil { // it lets in whoever comes
		_ = client.Close()
		return
	}
	_ = conn.Close() // all that was to be said is
	if h.proven || ctx.Err() != nil && !errors.Is(err, errWrongKey) {
		return // that it does not let us in is as it should be
	}
	p.failed(p.refused(Login{}, h, err))
}
