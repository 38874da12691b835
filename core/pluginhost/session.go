package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nspawn-build/nspawn-build/core/quarters"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Session is a plugin that runs. It implements sdk.Plugin. Close ends it.
type Session struct {
	host        *Host
	process     *process
	client      *goplugin.Client
	plugin      *sdk.Client
	description sdk.Description
	grants      Grants
	quarters    *quarters.Quarters
	wire        wire
	drain       func() // of what it prints through go-plugin

	closing sync.Once
	closed  error
}

var _ sdk.Stater = (*Session)(nil)

// wire stands between the host's client and the connection; nil for nothing.
type wire func(grpc.ClientConnInterface) grpc.ClientConnInterface

// Start starts the plugin of a listing. It may write to the directories of
// grants: give those of a Request for its Bootstrap, and none for the calls
// that have no effects. The caller closes the session.
func (h *Host) Start(ctx context.Context, l Listing, grants Grants) (*Session, error) {
	return h.start(ctx, l, grants, nil)
}

func (h *Host) start(ctx context.Context, l Listing, grants Grants, wire wire) (*Session, error) {
	if l.Err != nil {
		return nil, l.Err
	}
	if err := asRoot(); err != nil {
		return nil, err
	}
	if err := grants.check(); err != nil {
		return nil, err
	}
	b, err := h.open(l)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if l.SHA256 != "" && b.sum != l.SHA256 {
		return nil, &RefusedError{Path: l.Path, Reason: "it was replaced since it was listed", Hint: "try again"}
	}
	return h.begin(ctx, l, b, grants, wire)
}

// begin starts a program that is vouched for.
func (h *Host) begin(ctx context.Context, l Listing, b *binary, grants Grants, wire wire) (_ *Session, err error) {
	q, err := takeQuarters(h.RuntimeDir)
	if err != nil {
		return nil, err
	}
	s := &Session{host: h, grants: grants, quarters: q, wire: wire}
	out := &output{log: h.log().WithField("plugin", l.Name)}
	s.process = &process{name: l.Name, self: h.self(), binary: b, output: out}
	written, drain := out.writer()
	s.drain = drain
	s.client = goplugin.NewClient(h.config(s.process, q.Dir, grants, written))
	if err := s.connect(ctx, l); err != nil {
		s.process.kill() // there is nothing that it could still do well
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func asRoot() error {
	if os.Geteuid() == 0 {
		return nil
	}
	return &sdk.Failure{
		Code: sdk.CodeHostNotReady, Message: "plugins are run as root, in namespaces of their own",
		Hint: "run nspawn-build as root",
	}
}

// config is what go-plugin is told.
func (h *Host) config(p *process, dir string, grants Grants, written io.Writer) *goplugin.ClientConfig {
	return &goplugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake(),
		VersionedPlugins: sdk.VersionedPlugins(nil),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		Logger:           hclog.NewNullLogger(),
		StartTimeout:     h.startTimeout() + time.Second, // connect is quicker
		SyncStdout:       written,
		SyncStderr:       written,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(sdk.MaxMessage)),
			grpc.WithContextDialer(p.dial),
		},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			p.agreed = handshake{plugin: p.name, dir: socketDir}
			p.order = order{
				Argv:     []string{sdk.BinaryPrefix + p.name},
				Env:      append(pluginEnvironment(), cmd.Env...),
				Writable: append(grants.writable(), socketDir),
				Readable: grants.Readable,
				Stamp:    p.binary.stamp,
				Remount:  h.remount,
			}
			return p, nil
		},
	}
}

// connect starts the process and has it describe itself. However long any part
// of that takes, it is over when the time is, because then the process is.
func (s *Session) connect(ctx context.Context, l Listing) error {
	limit := s.host.startTimeout()
	ctx, cancel := context.WithTimeoutCause(ctx, limit,
		fmt.Errorf("the %s plugin did not answer within %s of its start: %w", l.Name, limit, ErrUnresponsive))
	defer cancel()
	var err error
	dispensed := make(chan struct{})
	go func() {
		defer close(dispensed)
		err = s.dispense()
	}()
	select {
	case <-dispensed:
	case <-ctx.Done():
		s.process.kill()
		<-dispensed
		return context.Cause(ctx)
	}
	if err == nil {
		s.description, err = s.plugin.Describe(ctx)
	}
	if err != nil {
		return s.explain(ctx, err)
	}
	if s.description.Name != l.Name {
		return &sdk.ProtocolError{
			ID:     sdk.RuleHandshakeName,
			Rule:   "a plugin's name is that of its file",
			Detail: fmt.Sprintf("%s calls itself %s", filepath.Base(l.Path), s.description.Name),
		}
	}
	return nil
}

func (s *Session) dispense() error {
	protocol, err := s.client.Client()
	if err != nil {
		return err
	}
	raw, err := protocol.Dispense(sdk.ServiceName)
	if err != nil {
		return err
	}
	plugin, ok := raw.(*sdk.Client)
	if !ok {
		return fmt.Errorf("go-plugin dispensed a %T", raw)
	}
	if direct, ok := protocol.(*goplugin.GRPCClient); ok && s.wire != nil {
		plugin = sdk.NewClient(s.wire(direct.Conn))
	}
	plugin.Silence, plugin.Grace = s.host.Silence, s.host.CancelGrace
	s.plugin = plugin
	return nil
}

// Describe implements sdk.Plugin. A session asks once, when it starts.
func (s *Session) Describe(context.Context) (sdk.Description, error) { return s.description, nil }

// Validate implements sdk.Plugin.
func (s *Session) Validate(ctx context.Context, req sdk.Request) (sdk.Validation, error) {
	ctx, cancel := s.deadline(ctx, "Validate")
	defer cancel()
	v, err := s.plugin.Validate(ctx, req)
	return v, s.explain(ctx, err)
}

// Plan implements sdk.Plugin.
func (s *Session) Plan(ctx context.Context, req sdk.Request) (sdk.Plan, error) {
	ctx, cancel := s.deadline(ctx, "Plan")
	defer cancel()
	p, err := s.plugin.Plan(ctx, req)
	return p, s.explain(ctx, err)
}

// State implements sdk.Stater. A plugin that has no FeatureState cannot tell.
// It may ask mirrors, and so is given longer than the other calls.
func (s *Session) State(ctx context.Context, req sdk.Request) (sdk.State, error) {
	if !s.description.Has(sdk.FeatureState) {
		return sdk.State{}, nil
	}
	ctx, cancel := s.within(ctx, "State", orDefault(s.host.StateTimeout, 2*time.Minute))
	defer cancel()
	state, err := s.plugin.State(ctx, req)
	return state, s.explain(ctx, err)
}

// Bootstrap implements sdk.Plugin. When ctx is done the plugin is asked to stop
// and, if it does not, killed.
func (s *Session) Bootstrap(ctx context.Context, req sdk.Request, report sdk.Reporter) (sdk.Facts, error) {
	if err := s.grants.cover(req); err != nil {
		return sdk.Facts{}, err
	}
	f, err := s.plugin.Bootstrap(ctx, req, report)
	return f, s.explain(ctx, err)
}

func (s *Session) deadline(ctx context.Context, call string) (context.Context, context.CancelFunc) {
	return s.within(ctx, call, orDefault(s.host.CallTimeout, 30*time.Second))
}

func (s *Session) within(ctx context.Context, call string, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit,
		fmt.Errorf("the %s plugin did not answer %s within %s: %w", s.process.name, call, limit, ErrUnresponsive))
}

// explain finds the reason behind an error of a call, which gRPC may know only
// as a connection that broke. A plugin that can no longer be relied on is killed.
func (s *Session) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var failure *sdk.Failure
	if errors.As(err, &failure) {
		return err
	}
	broken := fmt.Errorf("the %s plugin: %w", s.process.name, err)
	var protocol *sdk.ProtocolError
	// What gRPC says may come of the process having ended.
	surely := errors.As(err, &protocol) && protocol.Err == nil
	if surely || errors.Is(err, ErrUnresponsive) {
		s.process.kill()
		return broken
	}
	if verdict := s.process.verdict(); verdict != nil {
		return verdict
	}
	s.process.ending(ctx, err)
	if verdict := s.process.verdict(); verdict != nil {
		return verdict
	}
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); errors.Is(cause, ErrUnresponsive) {
			s.process.kill()
			return cause
		}
		return ctx.Err()
	}
	if unconnected := s.unconnected(err); unconnected != nil {
		s.process.kill()
		return unconnected
	}
	if errors.Is(err, ErrProtocol) {
		s.process.kill()
		return broken
	}
	return fmt.Errorf("the %s plugin: %s", s.process.name, statusText(err))
}

// unconnected is the rule that a plugin breaks which lives and listens, and with
// which there is no connection: nil for one that has answered something.
func (s *Session) unconnected(err error) error {
	text := statusText(err)
	if status.Code(err) != codes.Unavailable || !strings.Contains(text, "connection error: ") { // as gRPC for Go says
		return nil
	}
	return fmt.Errorf("the %s plugin: %w", s.process.name, &sdk.ProtocolError{
		ID: sdk.RuleHandshakeTLS, Rule: "a plugin takes the mutual TLS that it is offered, and shows the certificate of its handshake", Detail: text,
	})
}

// ending waits a little for the process to end, or for the context to be done,
// if err may come of either: gRPC can be quicker to tell.
func (p *process) ending(ctx context.Context, err error) {
	switch status.Code(err) {
	case codes.Unavailable, codes.Unknown, codes.Canceled, codes.DeadlineExceeded:
	default:
		return
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
	case <-time.After(500 * time.Millisecond):
	}
}

// statusText is the message of an error of gRPC's without its trimmings.
func statusText(err error) string {
	return sdk.Clean(status.Convert(err).Message(), sdk.MaxText)
}

// Close ends the plugin and everything that it started. It may be called more
// than once.
func (s *Session) Close() error {
	s.closing.Do(func() { s.closed = s.end() })
	return s.closed
}

// end asks the plugin to exit and kills it soon after. go-plugin's Kill waits
// for answers, and a stopped plugin gives none, so that it is not relied on.
func (s *Session) end() error {
	if !s.process.started() {
		s.drain()
		return s.quarters.Leave()
	}
	done := make(chan struct{})
	go func() { defer close(done); s.client.Kill() }()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
	s.process.kill()
	if err := s.process.settle(10 * time.Second); err != nil {
		return err // something hangs in the kernel; its directory is left as well
	}
	<-done
	s.drain()
	for _, w := range s.process.warnings() {
		s.host.log().WithField("plugin", s.process.name).Warn(w)
	}
	return s.quarters.Leave()
}

func (h *Host) self() string {
	if h.Self != "" {
		return h.Self
	}
	return "/proc/self/exe"
}

func (h *Host) startTimeout() time.Duration { return orDefault(h.StartTimeout, 10*time.Second) }
