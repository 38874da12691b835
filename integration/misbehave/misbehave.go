// Package misbehave is a plugin that keeps to every rule but one, in as many ways
// as there are modes. With it tests show that the rules find what they are for,
// and that nspawn-build comes to no harm by it. It must never be installed
// outside of a test host.
package misbehave

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// Mode is one way to misbehave. All but its name and what is expected of it may be
// missing.
type Mode struct {
	Name string
	// Breaks are the rules that it breaks, as the conformance suite names them.
	Breaks []string
	// Exit is the status with which create ends, and Says a part of what it says.
	// Zero means that the host is not harmed, and makes the machine.
	Exit int
	Says string

	early     func()                                                            // in place of serving
	describe  func(*sdk.Description)                                            // alters it
	validate  func(sdk.Request)                                                 // before it is looked at
	credulous bool                                                              // Validate refuses nothing
	plan      func(sdk.Request) error                                           // beside what Plan does
	bootstrap func(context.Context, sdk.Request, sdk.Reporter) error            // before the tree is made
	tree      func(root string, facts *sdk.Facts) error                         // alters it
	wrap      func(pb.BootstrapServiceServer) pb.BootstrapServiceServer         // has the last word
	end       func(send func(*pb.BootstrapResponse), end *pb.BootstrapResponse) // in place of the last event
}

// Early reports whether a mode never comes to serve.
func (m Mode) Early() bool { return m.early != nil }

// Distro is what a mode makes.
func (m Mode) Distro() string { return m.Name + "-os" }

// Names are all modes, the one that misbehaves in no way among them.
func Names() []string {
	var all []string
	for _, m := range Modes() {
		all = append(all, m.Name)
	}
	return all
}

// Exemplary is the name of the mode that keeps to every rule.
const Exemplary = "exemplary"

// Modes are all modes.
func Modes() []Mode {
	return slices.Concat([]Mode{{Name: Exemplary}}, handshakes, answers, raises, jobs, lapses, trees)
}

// Find returns a mode.
func Find(name string) (Mode, bool) {
	all := Modes()
	i := slices.IndexFunc(all, func(m Mode) bool { return m.Name == name })
	if i < 0 {
		return Mode{}, false
	}
	return all[i], true
}

// Run is the main of a plugin that is called after a mode. By hand it describes
// itself whatever the mode, as one that was installed while it was well would
// have.
func Run(name string) {
	m, ok := Find(name)
	if !ok {
		fmt.Fprintf(os.Stderr, "%q is no way to misbehave\n", name)
		os.Exit(2)
	}
	handshake := sdk.Handshake()
	if os.Getenv(handshake.MagicCookieKey) == "" {
		d, _ := plugin{mode: Mode{Name: m.Name}}.Describe(context.Background())
		_ = json.NewEncoder(os.Stdout).Encode(d)
		return
	}
	if m.early != nil {
		m.early()
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{sdk.ProtocolMajor: {sdk.ServiceName: &served{mode: m}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

// Register makes a mode answer the calls that reach server.
func Register(server grpc.ServiceRegistrar, m Mode) {
	var inner captured
	sdk.Register(&inner, plugin{mode: m})
	service := pb.BootstrapServiceServer(&last{BootstrapServiceServer: inner.service, mode: m})
	if m.wrap != nil {
		service = m.wrap(service)
	}
	pb.RegisterBootstrapServiceServer(server, service)
}

// captured takes the service that the SDK would serve.
type captured struct{ service pb.BootstrapServiceServer }

func (c *captured) RegisterService(_ *grpc.ServiceDesc, service any) {
	c.service, _ = service.(pb.BootstrapServiceServer) // which it is
}

type served struct {
	goplugin.NetRPCUnsupportedPlugin
	mode Mode
}

func (p *served) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	Register(s, p.mode)
	return nil
}

func (p *served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("%s is served only", p.mode.Name)
}

// last ends jobs as the mode has it.
type last struct {
	pb.BootstrapServiceServer

	mode Mode
}

func (l *last) Bootstrap(r *pb.BootstrapRequest, stream grpc.ServerStreamingServer[pb.BootstrapResponse]) error {
	if l.mode.end != nil {
		stream = &lastStream{stream, l.mode.end}
	}
	return l.BootstrapServiceServer.Bootstrap(r, stream)
}

type lastStream struct {
	grpc.ServerStreamingServer[pb.BootstrapResponse]

	end func(send func(*pb.BootstrapResponse), end *pb.BootstrapResponse)
}

func (s *lastStream) Send(event *pb.BootstrapResponse) error {
	if event.GetFinished() == nil {
		return s.ServerStreamingServer.Send(event)
	}
	s.end(func(e *pb.BootstrapResponse) { _ = s.ServerStreamingServer.Send(e) }, event)
	return nil
}
