package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// Protocol is the newest protocol that this package speaks. Its major part is
// the version in the protobuf package's name and what the two sides negotiate.
const (
	Protocol      = "1.1"
	ProtocolMajor = 1
)

// BinaryPrefix is what the file name of every plugin begins with; the plugin's
// name follows.
const BinaryPrefix = "nspawn-build-plugin-"

// ServiceName is the name under which go-plugin knows the one service.
const ServiceName = "bootstrap"

// Handshake tells a plugin that it was started by nspawn-build and not by hand.
// It is no secret and protects nothing.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		MagicCookieKey:   "NSPAWN_BUILD_PLUGIN",
		MagicCookieValue: "nspawnbuild.bootstrap",
	}
}

// VersionedPlugins is what both sides tell go-plugin of the protocol. The host
// passes nil and dispenses a *Client.
func VersionedPlugins(p Plugin) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{
		ProtocolMajor: {ServiceName: &grpcPlugin{plugin: p}},
	}
}

type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	plugin Plugin
}

func (g *grpcPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	Register(s, g.plugin)
	return nil
}

func (g *grpcPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(conn), nil
}

// Serve is the whole main of a plugin: it answers the host's calls until the
// host ends the connection, and then exits the process. Run by hand, the
// program prints its Description as JSON when its only argument is "describe",
// and otherwise says what it is and exits with status 2.
func Serve(p Plugin) {
	handshake := Handshake()
	if os.Getenv(handshake.MagicCookieKey) != handshake.MagicCookieValue {
		os.Exit(byHand(p, os.Args))
	}
	// What the host left open, this program's own file above all, is not for
	// the tools. An old kernel without close_range is no reason to stop.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: VersionedPlugins(p),
		GRPCServer:       serverThatPrintsTo(os.Stdout, os.Stderr),
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
	})
	os.Exit(0)
}

// serverThatPrintsTo returns go-plugin's factory of the server. Once it serves,
// go-plugin puts pipes in the place of os.Stdout and os.Stderr, whose content
// goes over the connection, and is lost with it when the plugin dies. The first
// call puts the files back: the host reads them to the end.
func serverThatPrintsTo(stdout, stderr *os.File) func([]grpc.ServerOption) *grpc.Server {
	var once sync.Once
	restore := func() { once.Do(func() { os.Stdout, os.Stderr = stdout, stderr }) }
	return func(options []grpc.ServerOption) *grpc.Server {
		return grpc.NewServer(append(
			options,
			grpc.MaxRecvMsgSize(MaxMessage),
			grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
				restore()
				return handle(ctx, req)
			}),
			grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
				restore()
				return handle(srv, stream)
			}),
		)...)
	}
}

// byHand is what happens without a host; it returns the exit status.
func byHand(p Plugin, args []string) int {
	if len(args) == 2 && args[1] == "describe" {
		d, err := p.Describe(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		d.Protocol = Protocol
		out, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(string(out))
		return 0
	}
	name := "plugin"
	if len(args) > 0 {
		name = strings.TrimPrefix(filepath.Base(args[0]), BinaryPrefix)
	}
	fmt.Fprintf(os.Stderr, "this is the %s plugin of nspawn-build, which runs it itself; "+
		"`%[1]s describe` prints what it can make, `nspawn-build plugin list` shows those in use\n",
		Clean(name, 255))
	return 2
}
