package readiness

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"golang.org/x/sys/unix"
)

// still is a driver whose machine never runs.
type still struct {
	driver.Driver
	err error
}

func (still) Name() string                         { return "still" }
func (s still) Unenforced(driver.Machine) []string { return nil }
func (s still) Console(context.Context, string, int) ([]string, error) {
	return []string{"execv(/sbin/init) failed"}, nil
}

func (s still) Status(context.Context, string) (driver.Status, error) {
	return driver.Status{State: driver.Stopped}, s.err
}

func publicKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestFailureBelowTheFirstProbeIsTyped(t *testing.T) {
	whole := Target{Name: "box", Driver: still{}, Interface: "ve-box", Address: netip.MustParseAddr("192.168.200.200"), HostKey: publicKey(t)}
	tests := []struct {
		name   string
		change func(*Target)
		want   Step
	}{
		{"no link", func(t *Target) { t.Interface = "" }, Addressed},
		{"no address", func(t *Target) { t.Address = netip.Addr{} }, Addressed},
		{"no host key", func(t *Target) { t.HostKey = nil }, KeyIsOurs},
		{"the driver fails", func(t *Target) { t.Driver = still{err: errors.New("no bus")} }, Started},
		{"not running", func(*Target) {}, LeaderRuns},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target := whole
			tt.change(&target)
			err := Prove(t.Context(), target, func(Rung) {})
			var e *Error
			if !errors.As(err, &e) || e.Rung != tt.want || e.Message == "" {
				t.Fatalf("got %v, want a failure of %q", err, tt.want)
			}
			if tt.want == LeaderRuns {
				if diff := cmp.Diff([]string{"execv(/sbin/init) failed"}, e.Journal); diff != "" {
					t.Errorf("journal (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestRungsAreReportedInOrder(t *testing.T) {
	p := &proof{Target: Target{Name: "box", ProbeHost: "x"}, begin: time.Now(), results: make(chan result, 2*steps)}
	for _, s := range []Step{Resolves, LoggedIn, Started, SystemdUp, Answers, LeaderRuns, KeyIsOurs, Addressed} {
		p.reached(s, "")
	}
	var got []Step
	if e := p.collect(t.Context(), func(r Rung) { got = append(got, r.Step) }); e != nil {
		t.Fatal(e)
	}
	want := []Step{Started, LeaderRuns, SystemdUp, Addressed, Answers, KeyIsOurs, LoggedIn, Resolves}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLowestRungThatIsMissingIsTheFailure(t *testing.T) {
	tests := []struct {
		name    string
		reached []Step
		probe   string
		want    Step
		message string // part of it
	}{
		{"nothing", nil, "x", Started, "box"},
		{"systemd hangs though ssh works", []Step{Started, LeaderRuns, Addressed, Answers, KeyIsOurs, LoggedIn}, "x", SystemdUp, "did not finish starting"},
		{"no address", []Step{Started, LeaderRuns, SystemdUp}, "x", Addressed, "did not get its address"},
		{"no answer", []Step{Started, LeaderRuns, SystemdUp, Addressed}, "x", Answers, "nothing answers"},
		{"no name", []Step{Started, LeaderRuns, SystemdUp, Addressed, Answers, KeyIsOurs, LoggedIn}, "x", Resolves, "cannot resolve x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &proof{Target: Target{Name: "box", ProbeHost: tt.probe}, begin: time.Now(), results: make(chan result, 2*steps)}
			for _, s := range tt.reached {
				p.reached(s, "")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			e := p.collect(ctx, func(Rung) {})
			if e == nil || e.Rung != tt.want || !strings.Contains(e.Message, tt.message) || e.Hint == "" {
				t.Errorf("got %+v", e)
			}
			if !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("the cause is lost: %v", e)
			}
		})
	}
}

func TestWithoutAProbeHostTheLoginIsTheLastRung(t *testing.T) {
	p := &proof{Target: Target{Name: "box"}, begin: time.Now(), results: make(chan result, 2*steps)}
	for s := Started; s <= LoggedIn; s++ {
		p.reached(s, "")
	}
	if e := p.collect(t.Context(), func(Rung) {}); e != nil {
		t.Error(e)
	}
}

func TestEveryStepHasAName(t *testing.T) {
	seen := map[string]bool{}
	for s := Started; s < steps; s++ {
		if name := s.String(); name == "" || seen[name] {
			t.Errorf("step %d is called %q", int(s), name)
		} else {
			seen[name] = true
		}
	}
	if got := Step(99).String(); got != "step 99" {
		t.Errorf("got %q", got)
	}
}

func TestUnitNamesAreThoseOfFailedUnits(t *testing.T) {
	tests := []struct {
		name, list string
		want       []string
	}{
		{"none", "", nil},
		{"two", "a.service loaded failed failed A thing\nb@1.mount loaded failed failed B\n", []string{"a.service", "b@1.mount"}},
		{"empty lines", "\n  \na.service x\n", []string{"a.service"}},
		{"escapes", "\x1b[2Jevil.service x\na.service x\n", []string{"a.service"}},
		{"endless", strings.Repeat("x", 300) + " y\na.service x\n", []string{"a.service"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, unitNames(tt.list)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if got := unitNames(strings.Repeat("a.service x\n", 1000)); len(got) != 20 {
		t.Errorf("%d names", len(got))
	}
}

func TestOnlyAnSSHBannerIsOne(t *testing.T) {
	tests := []struct {
		name, said, want string
		notSSH           bool
	}{
		{"OpenSSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\nmore", "OpenSSH_9.2p1 Debian-2", false},
		{"without a carriage return", "SSH-2.0-x\n", "x", false},
		{"a web server", "HTTP/1.1 400 Bad Request\r\n", "", true},
		{"an old protocol", "SSH-1.5-x\r\n", "", true},
		{"escapes in it", "SSH-2.0-\x1b[2J\r\n", "", true},
		{"endless", strings.Repeat("x", 4096), "", true},
		{"closed", "", "", false},
		{"closed amid it", "SSH-2", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				_, _ = theirs.Write([]byte(tt.said))
				if tt.want == "" {
					_ = theirs.Close()
				}
			}()
			t.Cleanup(func() { _ = theirs.Close() }) // deadlines of a pipe fail once its other end is closed
			c := &greetedConn{Conn: ours, r: bufio.NewReaderSize(ours, 4096)}
			got, err := c.banner(t.Context())
			if got != tt.want || errors.Is(err, errNotSSH) != tt.notSSH || (err == nil) != (tt.want != "") {
				t.Fatalf("got %q, %v", got, err)
			}
			if err != nil {
				return
			}
			// What was looked at is still to be read.
			begin := make([]byte, 8)
			if n, err := c.Read(begin); err != nil || string(begin[:n]) != "SSH-2.0-" {
				t.Errorf("then %q, %v", begin[:n], err)
			}
		})
	}
}

func TestSilenceIsNoBannerAndEnds(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := &greetedConn{Conn: ours, r: bufio.NewReader(ours)}
	if _, err := c.banner(ctx); err == nil || errors.Is(err, errNotSSH) {
		t.Errorf("got %v", err)
	}
}

func TestNothingIsDialledWithoutTheInterface(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	called := make(chan struct{})
	go func() {
		if conn, err := l.Accept(); err == nil {
			_ = conn.Close()
			close(called)
		}
	}()
	for _, iface := range []string{"", "ve-none", "ve-a-name-that-is-far-too-long"} {
		conn, err := dial(t.Context(), iface, netip.Addr{}, l.Addr().String())
		if err == nil {
			_ = conn.Close()
			t.Errorf("%q: connected", iface)
		}
	}
	select {
	case <-called:
		t.Error("the listener was called")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestOnlyTheAlgorithmsOfTheGivenKeyAreAsked(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key  ssh.PublicKey
		want []string
	}{
		{publicKey(t), []string{"ssh-ed25519"}},
		{rsaKey, []string{"rsa-sha2-512", "rsa-sha2-256"}},
	} {
		if diff := cmp.Diff(tt.want, algorithms(tt.key)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// server is an sshd with the given host keys that lets in whoever knows the
// password, and whose commands exit with status.
func server(t *testing.T, status uint32, keys ...ssh.Signer) net.Conn {
	t.Helper()
	config := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if string(password) != "right" {
			return nil, errors.New("wrong")
		}
		return nil, nil //nolint:nilnil // no permissions to grant
	}}
	for _, k := range keys {
		config.AddHostKey(k)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a pipe would not buffer
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			_ = conn.Close()
			return
		}
		go ssh.DiscardRequests(requests)
		for c := range channels {
			channel, asked, err := c.Accept()
			if err != nil {
				return
			}
			for r := range asked {
				_ = r.Reply(r.Type == "exec", nil)
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
				_ = channel.Close()
			}
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestLoginIsProvenWithTheRightKeyPasswordAndCommand(t *testing.T) {
	signer := func() ssh.Signer {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ours, others := signer(), signer()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaSigner, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		keys     []ssh.Signer
		password string
		status   uint32
		verified bool
		rung     Step // of the failure; -1 for none
	}{
		{"all is well", []ssh.Signer{ours}, "right", 0, true, -1},
		{"ours among others", []ssh.Signer{rsaSigner, ours}, "right", 0, true, -1},
		{"another key", []ssh.Signer{others}, "right", 0, false, KeyIsOurs},
		{"a key of another kind", []ssh.Signer{rsaSigner}, "right", 0, false, KeyIsOurs},
		{"a wrong password", []ssh.Signer{ours}, "wrong", 0, true, LoggedIn},
		{"a command that fails", []ssh.Signer{ours}, "right", 1, true, LoggedIn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &proof{Target: Target{Name: "box", User: "root", HostKey: ours.PublicKey()}}
			login := Login{"password", ssh.Password(tt.password)}
			verified := false
			h := &handshake{want: ours.PublicKey(), verified: func(ssh.PublicKey) { verified = true }}
			err := p.converse(t.Context(), server(t, tt.status, tt.keys...), login, h)
			if verified != tt.verified || (err != nil) != (tt.rung >= 0) {
				t.Fatalf("verified %v, %v", verified, err)
			}
			if err == nil {
				return
			}
			e := p.refused(login, h, err)
			if e.Rung != tt.rung || e.Hint == "" || !strings.Contains(e.Error(), "box") {
				t.Errorf("got %v: %+v", e.Rung, e)
			}
		})
	}
}

// A server that is slow may be asked again; one that refuses may not.
func TestASlowConversationIsToldFromARefusal(t *testing.T) {
	key := publicKey(t)
	p := &proof{Target: Target{Name: "box", HostKey: key}}
	login := Login{Label: "password", Method: ssh.Password("x")}
	talk := func(serve func(net.Conn)) error {
		t.Helper()
		near, far := net.Pipe()
		go serve(far)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return p.converse(ctx, near, login, &handshake{want: key, verified: func(ssh.PublicKey) {}})
	}
	if err := talk(func(c net.Conn) { _, _ = bufio.NewReader(c).ReadString('\n') }); !errors.Is(err, errSlow) {
		t.Errorf("silence: %v", err)
	}
	if err := talk(func(c net.Conn) { _ = c.Close() }); err == nil || errors.Is(err, errSlow) {
		t.Errorf("a connection that is closed: %v", err)
	}
}

func TestAProbeComesFromTheHostsEndOrNotAtAll(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // ends with the test
	conn, err := dial(t.Context(), "lo", netip.MustParseAddr("127.0.0.7"), l.Addr().String())
	if errors.Is(err, unix.EPERM) {
		t.Skip("binding to an interface needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	if from, _, _ := net.SplitHostPort(conn.LocalAddr().String()); from != "127.0.0.7" {
		t.Errorf("it comes from %s", from)
	}
	_ = conn.Close()
	// An address that this host does not have, or not yet.
	if conn, err := dial(t.Context(), "lo", netip.MustParseAddr("192.0.2.7"), l.Addr().String()); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("%v, %v", conn, err)
	}
}

func TestOnlyTheRungsThatAreAskedForAreClimbed(t *testing.T) {
	for _, tt := range []struct {
		rungs   []Step
		reached []Step // out of order
		last    Step
	}{
		{[]Step{LeaderRuns, Resolves}, []Step{Resolves, Started, LeaderRuns}, Resolves},
		{[]Step{LeaderRuns, Addressed}, []Step{LeaderRuns, Addressed}, Addressed},
	} {
		p := &proof{Target: Target{Name: "box", Rungs: tt.rungs, ProbeHost: "x.test"}, begin: time.Now(), results: make(chan result, 2*steps)}
		for _, s := range tt.reached {
			p.reached(s, "")
		}
		var got []Step
		if e := p.collect(t.Context(), func(r Rung) { got = append(got, r.Step) }); e != nil || len(got) == 0 || got[len(got)-1] != tt.last {
			t.Errorf("%v: %v, %v", tt.rungs, got, e)
		}
	}
	if e := (Target{Name: "box", Rungs: []Step{LeaderRuns, Resolves}}).incomplete(); e != nil {
		t.Errorf("nothing on the link is asked about: %v", e)
	}
	if e := (Target{Name: "box", Interface: "ve-box", Address: netip.MustParseAddr("192.0.2.1"), AnyKey: true}).incomplete(); e != nil {
		t.Errorf("any key will do: %v", e)
	}
}
