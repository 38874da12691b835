package misbehave

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// raises are modes that answer calls with nothing but a status of gRPC's, as
// libraries do of an exception that nobody catches.
var raises = []Mode{
	raising("raises-describe", "the raises-describe plugin: the plugin breaks the protocol", describes),
	raising("raises-validate", "Validate ended with Unknown: KeyError: 'release'", sdk.RuleAnswers),
	// create asks for no plan.
	{Name: "raises-plan", Breaks: []string{sdk.RuleAnswers, "plan-commands", "unknown-fields"}, wrap: raiser("raises-plan")},
	raising("raises-bootstrap", "the stream ended with Unknown: KeyError: 'release' in place of a finished or failed event", sdk.RuleOneEnd),
	// It lives, and has no failed event for who cancels it.
	{Name: "raises-cancel", Breaks: []string{"cancel-says-so"}, wrap: raiser("raises-cancel")},
	// What it serves is called otherwise.
	raising("no-service", "Describe ended with Unimplemented", describes),
}

func raising(name, says string, breaks ...string) Mode {
	return Mode{Name: name, Breaks: breaks, Exit: exitBootstrap, Says: says, wrap: raiser(name)}
}

func raiser(name string) func(pb.BootstrapServiceServer) pb.BootstrapServiceServer {
	return func(s pb.BootstrapServiceServer) pb.BootstrapServiceServer {
		if name == "no-service" {
			return pb.UnimplementedBootstrapServiceServer{} // as gRPC answers for what nobody serves
		}
		return &raised{s, name}
	}
}

type raised struct {
	pb.BootstrapServiceServer

	mode string
}

// in is what a call ends with in one mode, and nothing in others.
func (r *raised) in(mode string) error {
	if r.mode != mode {
		return nil
	}
	return status.Error(codes.Unknown, "KeyError: 'release'")
}

func (r *raised) Describe(ctx context.Context, req *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	if err := r.in("raises-describe"); err != nil {
		return nil, err
	}
	return r.BootstrapServiceServer.Describe(ctx, req)
}

func (r *raised) Validate(ctx context.Context, req *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	if err := r.in("raises-validate"); err != nil {
		return nil, err
	}
	return r.BootstrapServiceServer.Validate(ctx, req)
}

func (r *raised) Plan(ctx context.Context, req *pb.PlanRequest) (*pb.PlanResponse, error) {
	if err := r.in("raises-plan"); err != nil {
		return nil, err
	}
	return r.BootstrapServiceServer.Plan(ctx, req)
}

func (r *raised) Bootstrap(req *pb.BootstrapRequest, stream grpc.ServerStreamingServer[pb.BootstrapResponse]) error {
	if err := r.in("raises-bootstrap"); err != nil {
		return err
	}
	if r.mode != "raises-cancel" {
		return r.BootstrapServiceServer.Bootstrap(req, stream)
	}
	cut := &cutStream{ServerStreamingServer: stream}
	if err := r.BootstrapServiceServer.Bootstrap(req, cut); err != nil {
		return err
	}
	return cut.err
}

// cutStream ends with a status where there would be the event of a job that was
// cancelled.
type cutStream struct {
	grpc.ServerStreamingServer[pb.BootstrapResponse]

	err error
}

func (c *cutStream) Send(event *pb.BootstrapResponse) error {
	if event.GetFailed().GetCode() == pb.FailureCode_FAILURE_CODE_CANCELED {
		c.err = status.Error(codes.Canceled, "cancelled")
		return nil
	}
	return c.ServerStreamingServer.Send(event)
}
