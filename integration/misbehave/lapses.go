package misbehave

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// lapses are modes that do one thing otherwise than they should, where most do
// no harm to a machine.
var lapses = []Mode{
	{
		Name: "choosy", Breaks: []string{"validate-good"}, Exit: exitUsage, Says: "not today",
		wrap: altered(func(v *pb.ValidateResponse) {
			v.Diagnostics = append(v.Diagnostics, &pb.Diagnostic{
				Severity: pb.Severity_SEVERITY_ERROR, Field: "release", Message: "not today", Hint: "ask tomorrow",
			})
		}),
	},
	{Name: "vague", Breaks: []string{"validate-defaults"}, wrap: altered(func(v *pb.ValidateResponse) { v.GetResolved().Release = "" })},
	{
		Name: "terse", Breaks: []string{"validate-hints"},
		wrap: altered(func(v *pb.ValidateResponse) {
			for _, d := range v.GetDiagnostics() {
				d.Hint = ""
			}
		}),
	},
	{Name: "collector", Breaks: []string{"validate-touches-nothing"}, validate: func(req sdk.Request) { _ = leave(req.WorkDirectory) }},
	{Name: "silent-plan", Breaks: []string{"plan-commands"}, wrap: func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer { return &noPlan{s} }},
	{
		Name: "fickle", Breaks: []string{"state-answers"}, describe: stateful,
		wrap: stating(func(*pb.Request) error { return nil }, true),
	},
	{
		Name: "archivist", Breaks: []string{"state-touches-nothing"}, describe: stateful,
		wrap: stating(func(r *pb.Request) error { return leave(r.GetCacheDirectory()) }, false),
	},
	{Name: "pedant", Breaks: []string{"cancel-unknown"}, wrap: func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer { return &pedant{BootstrapServiceServer: s} }},
	{Name: "sulky", Breaks: []string{"cancel-survives"}, wrap: func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer { return &sulky{BootstrapServiceServer: s} }},
	{
		Name: "hapless", Breaks: []string{"bootstrap-finishes"}, Exit: exitBootstrap, Says: "it rains",
		bootstrap: func(ctx context.Context, _ request, _ reporter) error {
			if cancelled(ctx) {
				return ctx.Err()
			}
			return &sdk.Failure{Code: sdk.CodeTool, Message: "it rains", Hint: "wait"}
		},
	},
	{Name: "phaseless", Breaks: []string{"events-phases"}, wrap: func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer { return &phaseless{s} }},
	{
		Name: "mumbler", Breaks: []string{"events-warnings"},
		end: func(send func(*pb.BootstrapResponse), end *pb.BootstrapResponse) { send(warning("")); send(end) },
	},
	{
		Name: "alarmist", Breaks: []string{sdk.RuleEventsBounded},
		end: func(send func(*pb.BootstrapResponse), end *pb.BootstrapResponse) {
			for n := range 1001 {
				send(warning(fmt.Sprint("this is warning ", n)))
			}
			send(end)
		},
	},
	{
		Name: "open-door", Breaks: []string{"tree-secrets"},
		tree: func(root string, _ *sdk.Facts) error {
			return write(root, file{"etc/passwd", "root::0:0:root:/root:/bin/sh\n", 0o644})
		},
	},
}

func warning(message string) *pb.BootstrapResponse {
	return &pb.BootstrapResponse{Event: &pb.BootstrapResponse_Warning{Warning: &pb.Warning{Message: message}}}
}

// leave leaves a file in a directory, if there is one.
func leave(dir string) error {
	if dir == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "left"), nil, 0o600)
}

// altered has what Validate answers changed.
func altered(change func(*pb.ValidateResponse)) func(pb.BootstrapServiceServer) pb.BootstrapServiceServer {
	return func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer { return &alter{s, change} }
}

type alter struct {
	pb.BootstrapServiceServer

	change func(*pb.ValidateResponse)
}

func (a *alter) Validate(ctx context.Context, r *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	v, err := a.BootstrapServiceServer.Validate(ctx, r)
	if err == nil {
		a.change(v)
	}
	return v, err
}

type noPlan struct{ pb.BootstrapServiceServer }

func (*noPlan) Plan(context.Context, *pb.PlanRequest) (*pb.PlanResponse, error) {
	return &pb.PlanResponse{}, nil
}

func stateful(d *sdk.Description) { d.Features = append(d.Features, sdk.FeatureState) }

// stating answers State, with something else each time if it is fickle.
func stating(beside func(*pb.Request) error, fickle bool) func(pb.BootstrapServiceServer) pb.BootstrapServiceServer {
	return func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer {
		return &states{BootstrapServiceServer: s, beside: beside, fickle: fickle}
	}
}

type states struct {
	pb.BootstrapServiceServer

	beside func(*pb.Request) error
	fickle bool
	asked  atomic.Int64
}

func (s *states) State(_ context.Context, r *pb.StateRequest) (*pb.StateResponse, error) {
	if err := s.beside(r.GetRequest()); err != nil {
		return nil, err
	}
	answer := &pb.StateResponse{Engine: "an-engine 1"}
	if s.fickle {
		answer.Engine = fmt.Sprint("an-engine ", s.asked.Add(1))
	}
	return answer, nil
}

// pedant takes it amiss when there is nothing to cancel.
type pedant struct {
	pb.BootstrapServiceServer

	running atomic.Int64
}

func (p *pedant) Bootstrap(r *pb.BootstrapRequest, stream grpc.ServerStreamingServer[pb.BootstrapResponse]) error {
	p.running.Add(1)
	defer p.running.Add(-1)
	return p.BootstrapServiceServer.Bootstrap(r, stream)
}

func (p *pedant) Cancel(ctx context.Context, r *pb.CancelRequest) (*pb.CancelResponse, error) {
	if p.running.Load() == 0 {
		return nil, status.Error(codes.NotFound, "there is no such job")
	}
	return p.BootstrapServiceServer.Cancel(ctx, r)
}

// sulky answers nothing more once it was cancelled.
type sulky struct {
	pb.BootstrapServiceServer

	hurt atomic.Bool
}

func (s *sulky) Cancel(ctx context.Context, r *pb.CancelRequest) (*pb.CancelResponse, error) {
	if r.GetJobId() != "none" { // which the rule cancel-unknown asks for
		s.hurt.Store(true)
	}
	return s.BootstrapServiceServer.Cancel(ctx, r)
}

func (s *sulky) Validate(ctx context.Context, r *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	if s.hurt.Load() {
		return nil, status.Error(codes.Unavailable, "it was cancelled")
	}
	return s.BootstrapServiceServer.Validate(ctx, r)
}

// phaseless says what it does and not in which phase.
type phaseless struct{ pb.BootstrapServiceServer }

func (p *phaseless) Bootstrap(r *pb.BootstrapRequest, stream grpc.ServerStreamingServer[pb.BootstrapResponse]) error {
	return p.BootstrapServiceServer.Bootstrap(r, &phaselessStream{stream})
}

type phaselessStream struct {
	grpc.ServerStreamingServer[pb.BootstrapResponse]
}

func (s *phaselessStream) Send(event *pb.BootstrapResponse) error {
	if event.GetPhase() != nil {
		event = &pb.BootstrapResponse{Event: &pb.BootstrapResponse_Line{Line: &pb.Line{Text: "unpacking"}}}
	}
	return s.ServerStreamingServer.Send(event)
}
