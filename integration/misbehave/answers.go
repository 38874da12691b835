package misbehave

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// answers are modes that answer calls otherwise than they should.
var answers = []Mode{
	// It says more than this version knows, as it may.
	{Name: Later, wrap: func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer { return &later{s} }},
	// It was built before 1.1, and knows none of what came with it.
	{Name: Earlier, wrap: func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer {
		return &earlier{BootstrapServiceServer: s}
	}},
	{
		Name: "liar", Breaks: []string{sdk.RuleHandshakeName}, Exit: exitBootstrap, Says: "calls itself somebody-else",
		describe: func(d *sdk.Description) { d.Name = "somebody-else" },
	},
	{
		Name: "hang-describe", Breaks: []string{describes}, Exit: exitBootstrap, Says: "did not answer within",
		describe: func(*sdk.Description) { hang() },
	},
	{
		Name: "numerous", Breaks: []string{sdk.RuleListsBounded}, Exit: exitBootstrap, Says: "lists are of a sane length",
		describe: func(d *sdk.Description) {
			for i := range 100 {
				d.Distros = append(d.Distros, sdk.Distro{Name: fmt.Sprint("d", i), Title: "D", Releases: []string{"1"}, DefaultRelease: "1", Architectures: architectures})
			}
		},
	},
	{
		Name: "half-described", Breaks: []string{"describe-version", sdk.RuleDescribeDistros, "describe-tools", "describe-options"},
		describe: func(d *sdk.Description) {
			d.Version, d.Distros[0].Releases = "new", []string{"2"}
			d.Tools[0].Packages, d.Options[0].Help = nil, ""
		},
	},
	{
		Name: "hang-validate", Breaks: []string{"validate-answers"}, Exit: exitBootstrap, Says: "did not answer Validate within",
		validate: func(sdk.Request) { hang() },
	},
	{Name: "credulous", Breaks: []string{"validate-refuses", "refusal-fails"}, credulous: true},
	{
		Name: "early-bird", Breaks: []string{"plan-touches-nothing"},
		plan: func(req sdk.Request) error {
			if req.CacheDirectory == "" {
				return nil
			}
			return os.WriteFile(filepath.Join(req.CacheDirectory, "planned"), nil, 0o644)
		},
	},
	{Name: "strict", Breaks: []string{"unknown-fields"}, wrap: func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer { return &strict{s} }},
}

// strict refuses what it does not know.
type strict struct{ pb.BootstrapServiceServer }

func (s *strict) Validate(ctx context.Context, r *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	if len(r.ProtoReflect().GetUnknown()) > 0 {
		return nil, status.Error(codes.InvalidArgument, "there is a field that nobody knows")
	}
	return s.BootstrapServiceServer.Validate(ctx, r)
}

// Later is the name of the mode that is written for a later minor version of the
// protocol, and keeps to every rule.
const Later = "later"

// later sends fields and an event that are not known yet.
type later struct{ pb.BootstrapServiceServer }

// unknown is a field that no version has.
var unknown = protowire.AppendString(protowire.AppendTag(nil, 20_001, protowire.BytesType), "of a later version")

func (l *later) Describe(ctx context.Context, r *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	d, err := l.BootstrapServiceServer.Describe(ctx, r)
	if err == nil {
		d.Protocol, d.Features = "1.99", append(d.Features, "telepathy")
		d.ProtoReflect().SetUnknown(unknown)
		d.GetDistros()[0].ProtoReflect().SetUnknown(unknown)
	}
	return d, err
}

func (l *later) Validate(ctx context.Context, r *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	v, err := l.BootstrapServiceServer.Validate(ctx, r)
	if err == nil {
		v.ProtoReflect().SetUnknown(unknown)
		v.GetResolved().ProtoReflect().SetUnknown(unknown)
	}
	return v, err
}

func (l *later) Bootstrap(r *pb.BootstrapRequest, stream grpc.ServerStreamingServer[pb.BootstrapResponse]) error {
	event := &pb.BootstrapResponse{}
	event.ProtoReflect().SetUnknown(unknown)
	if err := stream.Send(event); err != nil {
		return err
	}
	return l.BootstrapServiceServer.Bootstrap(r, stream)
}

// Earlier is the name of the mode that is written for protocol 1.0, and keeps to
// every rule.
const Earlier = "earlier"

// earlier answers what protocol 1.0 had, with what it had.
type earlier struct {
	pb.BootstrapServiceServer

	none pb.UnimplementedBootstrapServiceServer
}

func (e *earlier) Describe(ctx context.Context, r *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	d, err := e.BootstrapServiceServer.Describe(ctx, r)
	if err == nil {
		d.Protocol, d.Features = "1.0", nil
	}
	return d, err
}

func (e *earlier) Validate(ctx context.Context, r *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	v, err := e.BootstrapServiceServer.Validate(ctx, r)
	if err == nil {
		for _, d := range v.GetDiagnostics() {
			d.Code = pb.FailureCode_FAILURE_CODE_UNSPECIFIED
		}
		resolved := v.GetResolved()
		resolved.Snapshot, resolved.SourceDateEpoch, resolved.Pinned = "", 0, nil
	}
	return v, err
}

// State came with 1.1.
func (e *earlier) State(ctx context.Context, r *pb.StateRequest) (*pb.StateResponse, error) {
	return e.none.State(ctx, r)
}
