package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// raw is a plugin that was not written with the SDK and says what it likes.
type raw struct {
	pb.UnimplementedBootstrapServiceServer
	describe *pb.DescribeResponse
	validate *pb.ValidateResponse
	plan     *pb.PlanResponse
	events   []*pb.BootstrapResponse
	hang     bool // after the events
}

func (r *raw) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	return r.describe, nil
}

func (r *raw) Validate(context.Context, *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	return r.validate, nil
}

func (r *raw) Plan(context.Context, *pb.PlanRequest) (*pb.PlanResponse, error) { return r.plan, nil }

func (r *raw) Bootstrap(_ *pb.BootstrapRequest, s grpc.ServerStreamingServer[pb.BootstrapResponse]) error {
	for _, e := range r.events {
		if err := s.Send(e); err != nil {
			return err
		}
	}
	if r.hang {
		<-s.Context().Done()
	}
	return nil
}

// startRaw serves r as sdktest.Start serves a Plugin.
func startRaw(t *testing.T, r *raw) *sdk.Client {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	pb.RegisterBootstrapServiceServer(server, r)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///raw",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); server.Stop() })
	return sdk.NewClient(conn)
}

func finished(f *pb.Facts) *pb.BootstrapResponse {
	return &pb.BootstrapResponse{Event: &pb.BootstrapResponse_Finished{Finished: &pb.Finished{Facts: f}}}
}

func failed(message string) *pb.BootstrapResponse {
	return &pb.BootstrapResponse{Event: &pb.BootstrapResponse_Failed{Failed: &pb.Failed{Message: message, Code: 99}}}
}

func progress(done uint64) *pb.BootstrapResponse {
	return &pb.BootstrapResponse{Event: &pb.BootstrapResponse_Progress{Progress: &pb.Progress{Done: done}}}
}

func TestABootstrapThatBreaksARuleIsNamedByIt(t *testing.T) {
	good := finished(&pb.Facts{PackageManager: "apt-get"})
	for name, c := range map[string]struct {
		events []*pb.BootstrapResponse
		hang   bool
		want   string
	}{
		"no event":                {nil, false, "with no finished or failed event"},
		"no terminal event":       {[]*pb.BootstrapResponse{progress(1)}, false, "with no finished or failed event"},
		"two terminal events":     {[]*pb.BootstrapResponse{good, good}, false, "finished after the finished event"},
		"failed after finished":   {[]*pb.BootstrapResponse{good, failed("x")}, false, "failed after the finished event"},
		"progress after terminal": {[]*pb.BootstrapResponse{good, progress(1)}, false, "progress after the finished event"},
		"unknown after terminal":  {[]*pb.BootstrapResponse{good, {}}, false, "an unknown event after the finished event"},
		"open after terminal":     {[]*pb.BootstrapResponse{good}, true, "it was still open"},
		"a unit that is a path": {[]*pb.BootstrapResponse{
			finished(&pb.Facts{SshUnits: []string{"../../etc/shadow.service"}}),
		}, false, "ssh_units are names of units"},
		"a unit that is an option": {[]*pb.BootstrapResponse{
			finished(&pb.Facts{MaskUnits: []string{"--root=/.service"}}),
		}, false, "mask_units are names of units"},
		"a unit with a newline": {[]*pb.BootstrapResponse{
			finished(&pb.Facts{NetworkUnits: []string{"a.service\nb.service"}}),
		}, false, "network_units are names of units"},
		"a package manager that is a path": {[]*pb.BootstrapResponse{
			finished(&pb.Facts{PackageManager: "/bin/sh"}),
		}, false, "package_manager is the name of a command"},
		"a probe host that is an option": {[]*pb.BootstrapResponse{
			finished(&pb.Facts{ProbeHost: "-h"}),
		}, false, "probe_host is the name of a host"},
		"too many units": {[]*pb.BootstrapResponse{
			finished(&pb.Facts{SshUnits: strings.Fields(strings.Repeat("a.service ", 65))}),
		}, false, "lists are of a sane length"},
	} {
		t.Run(name, func(t *testing.T) {
			client := startRaw(t, &raw{events: c.events, hang: c.hang})
			if c.hang {
				client.Silence = 50_000_000
			}
			_, err := client.Bootstrap(t.Context(), sdk.Request{JobID: "j"}, &sdktest.Recorder{})
			var broken *sdk.ProtocolError
			if !errors.Is(err, sdk.ErrProtocol) || !errors.As(err, &broken) || broken.Rule == "" || broken.ID == "" {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q does not say %q", err, c.want)
			}
		})
	}
}

func TestWhatANewerPluginAddsIsPassedOver(t *testing.T) {
	client := startRaw(t, &raw{events: []*pb.BootstrapResponse{{}, failed("\x1b[2Jbroken")}})
	_, err := client.Bootstrap(t.Context(), sdk.Request{}, &sdktest.Recorder{})
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeTool || failure.Message != "broken" {
		t.Errorf("got %#v", err)
	}
}

func TestADescriptionThatMisleadsIsRefused(t *testing.T) {
	many := make([]*pb.Distro, 65)
	for i := range many {
		many[i] = &pb.Distro{Name: fmt.Sprint("d", i)}
	}
	for name, d := range map[string]*pb.DescribeResponse{
		"no name":                {},
		"a path for a name":      {Name: "../x"},
		"a dot in its name":      {Name: "my.linux"}, // of a distro it is fine
		"an underscore":          {Name: "my_linux"},
		"64 characters":          {Name: strings.Repeat("x", 64)},
		"a distro as an option":  {Name: "x", Distros: []*pb.Distro{{Name: "-x"}}},
		"a distro in two lines":  {Name: "x", Distros: []*pb.Distro{{Name: "a\nb"}}},
		"the same distro twice":  {Name: "x", Distros: []*pb.Distro{{Name: "a"}, {Name: "a"}}},
		"too many distros":       {Name: "x", Distros: many},
		"too many of a distro's": {Name: "x", Distros: []*pb.Distro{{Name: "a", Releases: make([]string, 300)}}},
	} {
		if _, err := startRaw(t, &raw{describe: d}).Describe(t.Context()); !errors.Is(err, sdk.ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := startRaw(t, &raw{describe: &pb.DescribeResponse{
		Name: "x", Version: "1\x1b[2J", Distros: []*pb.Distro{{Name: "a_1.2", Title: "A\a"}},
		Options: []*pb.Option{{Help: "h\x00"}}, Tools: []*pb.ToolNeed{{AnyOf: []string{"t\r"}}},
	}}).Describe(t.Context())
	expect(t, sdk.Description{
		Name: "x", Version: "1", Distros: []sdk.Distro{{Name: "a_1.2", Title: "A"}},
		Options: []sdk.Option{{Help: "h"}}, Tools: []sdk.ToolNeed{{AnyOf: []string{"t "}}},
	}, got, err)
}

func TestAPluginCannotMoveTheTarget(t *testing.T) {
	client := startRaw(t, &raw{validate: &pb.ValidateResponse{
		Diagnostics: []*pb.Diagnostic{{Severity: 7, Message: "worse\x1b[2J"}},
		Resolved: &pb.Request{
			JobId: "other", Distro: "other", Target: "/etc", CacheDirectory: "/root", WorkDirectory: "/", Release: "r",
		},
	}})
	got, err := client.Validate(t.Context(), sdk.Request{JobID: "j", Distro: "d", CacheDirectory: "/c"})
	expect(t, sdk.Validation{
		Diagnostics: []sdk.Diagnostic{{Severity: sdk.SeverityError, Message: "worse"}},
		Resolved:    sdk.Request{JobID: "j", Distro: "d", CacheDirectory: "/c", Release: "r"},
	}, got, err)
}

func TestAnAnswerTooLargeIsRefused(t *testing.T) {
	client := startRaw(t, &raw{plan: &pb.PlanResponse{Packages: []string{strings.Repeat("x", sdk.MaxMessage)}}})
	if _, err := client.Plan(t.Context(), sdk.Request{}); err == nil {
		t.Error("an answer of more than MaxMessage bytes was taken")
	}
	client = startRaw(t, &raw{plan: &pb.PlanResponse{Commands: make([]*pb.Command, 300)}})
	if _, err := client.Plan(t.Context(), sdk.Request{}); !errors.Is(err, sdk.ErrProtocol) {
		t.Errorf("300 commands: %v", err)
	}
}
