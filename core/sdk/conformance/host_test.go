package conformance_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
	"github.com/nspawn-build/nspawn-build/integration/misbehave"
)

// poor is a host that can start a plugin and then has no room for a job, or does
// not see what runs.
type poor struct {
	t    *testing.T
	room bool
}

var errHost = errors.New("the disk of the host is full")

func (poor) InProcess() bool { return true }

func (p poor) Directories() (conformance.Grants, func() error, error) {
	if !p.room {
		return conformance.Grants{}, nil, errHost
	}
	dir := p.t.TempDir()
	return conformance.Grants{Target: dir, CacheDirectory: dir, WorkDirectory: dir}, func() error { return nil }, nil
}

func (p poor) Start(_ context.Context, _ conformance.Grants, wire conformance.Wire) (conformance.Session, error) {
	listener, server := bufconn.Listen(1<<20), grpc.NewServer()
	m, _ := misbehave.Find(misbehave.Exemplary)
	misbehave.Register(server, m)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///plugin", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(server.Stop)
	return blind{sdk.NewClient(wire(conn)), conn}, nil
}

// blind is a session of which the host sees nothing.
type blind struct {
	*sdk.Client
	conn *grpc.ClientConn
}

func (blind) Processes() (map[int]string, error) { return nil, errHost }
func (blind) Mounts() (map[string]string, error) { return nil, errHost }
func (blind) Printed() int64                     { return 0 }
func (b blind) Close() error                     { return b.conn.Close() }

// What the host could not look at is neither kept nor broken, whichever of the
// rules that look at the same act comes first.
func TestAFaultOfTheHostSaysNothingOfThePlugin(t *testing.T) {
	acts := []string{
		conformance.GroupBootstrap, conformance.GroupEvents, conformance.GroupFacts, conformance.GroupTree, conformance.GroupCancel,
	}
	// The job that is refused shows these, too, without a look at what it leaves.
	ends := []string{sdk.RuleOneEnd, sdk.RuleStreamEnds}
	for what, p := range map[string]poor{"no room": {t, false}, "no sight": {t, true}} {
		t.Run(what, func(t *testing.T) {
			p.t = t
			r, err := conformance.Run(t.Context(), conformance.Config{Subject: p})
			if err != nil {
				t.Fatal(err)
			}
			looked := 0
			for _, result := range r.Results {
				if result.Status == conformance.Broken {
					t.Errorf("%s is broken: %q", result.ID, result.Seen)
				}
				if !slices.Contains(acts, result.Group) || p.room && slices.Contains(ends, result.ID) {
					continue
				}
				looked++
				if result.Status != conformance.Skipped {
					t.Errorf("%s is %s", result.ID, result.Status)
				}
			}
			if looked == 0 {
				t.Error("there are no such rules")
			}
		})
	}
}
