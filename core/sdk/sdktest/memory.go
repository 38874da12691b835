package sdktest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// connection is a plugin that is served in memory, and the way to it.
type connection struct {
	*grpc.ClientConn

	server *grpc.Server
	served chan error
}

// connect serves a plugin.
func connect(register func(grpc.ServiceRegistrar)) (*connection, error) {
	listener := bufconn.Listen(1 << 20)
	c := &connection{server: grpc.NewServer(grpc.MaxRecvMsgSize(sdk.MaxMessage)), served: make(chan error, 1)}
	register(c.server)
	go func() { c.served <- c.server.Serve(listener) }()
	var err error
	c.ClientConn, err = grpc.NewClient("passthrough:///plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return listener.DialContext(ctx)
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		c.server.Stop()
		return nil, errors.Join(err, <-c.served)
	}
	return c, nil
}

// close ends both.
func (c *connection) close() error {
	err := c.Close()
	c.server.Stop()
	return errors.Join(err, <-c.served)
}

// memory is the plugin of a test, run in this process.
type memory struct {
	register func(grpc.ServiceRegistrar)
	base     string // of jobs' directories
}

func (*memory) InProcess() bool { return true }

func (m *memory) Start(_ context.Context, _ conformance.Grants, wire conformance.Wire) (conformance.Session, error) {
	c, err := connect(m.register)
	if err != nil {
		return nil, err
	}
	return &memorySession{sdk.NewClient(wire(c)), c, m.base}, nil
}

func (m *memory) Directories() (conformance.Grants, func() error, error) {
	g, err := temporary(m.base)
	if err != nil {
		return g, nil, err
	}
	dir := filepath.Dir(g.Target)
	return g, func() error {
		if err := target.NoMounts(dir); err != nil {
			return err // what is mounted must not be emptied
		}
		return os.RemoveAll(dir)
	}, nil
}

// memorySession is a plugin that is served. What its jobs start are processes of
// this machine like any other, which are known by the directories that they are
// in or were told of.
type memorySession struct {
	*sdk.Client

	connection *connection
	base       string
}

// callLimit is how long a call may take, as it is with the host.
const callLimit = 30 * time.Second

func (s *memorySession) Validate(ctx context.Context, req sdk.Request) (sdk.Validation, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callLimit, errSlow)
	defer cancel()
	v, err := s.Client.Validate(ctx, req)
	return v, tooSlow(ctx, err)
}

func (s *memorySession) Plan(ctx context.Context, req sdk.Request) (sdk.Plan, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callLimit, errSlow)
	defer cancel()
	p, err := s.Client.Plan(ctx, req)
	return p, tooSlow(ctx, err)
}

var errSlow = fmt.Errorf("it did not answer within %s: %w", callLimit, sdk.ErrUnresponsive)

func tooSlow(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errSlow) {
		return errSlow
	}
	return err
}

func (s *memorySession) Processes() (map[int]string, error) {
	found := map[int]string{}
	entries, err := filepath.Glob("/proc/[0-9]*")
	for _, dir := range entries {
		pid, _ := strconv.Atoi(filepath.Base(dir)) // digits, as the pattern has it
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		command := strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		if command == "" || pid == os.Getpid() {
			continue // it has ended
		}
		about := command
		for _, link := range []string{"cwd", "root", "exe"} {
			to, _ := os.Readlink(filepath.Join(dir, link))
			about += " " + to
		}
		if strings.Contains(about, s.base+"/job-") {
			found[pid] = command
		}
	}
	return found, err
}

func (s *memorySession) Mounts() (map[string]string, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(s.base))
	if err != nil {
		return nil, fmt.Errorf("reading the mount table: %w", err)
	}
	all := map[string]string{}
	for _, m := range mounts {
		mode, _, _ := strings.Cut(m.Options, ",")
		all[m.Mountpoint] = mode
	}
	return all, nil
}

func (*memorySession) Printed() int64 { return 0 }

// Close replaces nothing: a Client has none.
func (s *memorySession) Close() error { return s.connection.close() }
