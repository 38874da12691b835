package sdk

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// Register makes p answer the calls of nspawnbuild.bootstrap.v1 that reach
// server. Serve does it for a plugin's process; tests may do it themselves.
func Register(server grpc.ServiceRegistrar, p Plugin) {
	pb.RegisterBootstrapServiceServer(server, &service{plugin: p, jobs: map[string]context.CancelFunc{}})
}

// service translates calls to a Plugin. It keeps the protocol's promises for
// it: exactly one terminal event, and nothing after it.
type service struct {
	pb.UnimplementedBootstrapServiceServer
	plugin Plugin

	mu   sync.Mutex
	jobs map[string]context.CancelFunc
}

func (s *service) Describe(ctx context.Context, _ *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	d, err := s.plugin.Describe(ctx)
	if err != nil {
		return nil, errorToStatus(ctx, err)
	}
	d.Protocol = Protocol
	if _, ok := s.plugin.(Stater); ok && !d.Has(FeatureState) {
		d.Features = append(slices.Clone(d.Features), FeatureState)
	}
	return validated(descriptionToProto(d)), nil
}

func (s *service) Validate(ctx context.Context, r *pb.ValidateRequest) (*pb.ValidateResponse, error) {
	v, err := s.plugin.Validate(ctx, requestFromProto(r.GetRequest()))
	if err != nil {
		return nil, errorToStatus(ctx, err)
	}
	return validated(validationToProto(v)), nil
}

func (s *service) Plan(ctx context.Context, r *pb.PlanRequest) (*pb.PlanResponse, error) {
	p, err := s.plugin.Plan(ctx, requestFromProto(r.GetRequest()))
	if err != nil {
		return nil, errorToStatus(ctx, err)
	}
	return validated(planToProto(p)), nil
}

func (s *service) State(ctx context.Context, r *pb.StateRequest) (*pb.StateResponse, error) {
	stater, ok := s.plugin.(Stater)
	if !ok {
		return s.UnimplementedBootstrapServiceServer.State(ctx, r)
	}
	state, err := stater.State(ctx, requestFromProto(r.GetRequest()))
	if err != nil {
		return nil, errorToStatus(ctx, err)
	}
	return validated(stateToProto(state)), nil
}

func (s *service) Bootstrap(r *pb.BootstrapRequest, stream grpc.ServerStreamingServer[pb.BootstrapResponse]) error {
	req := requestFromProto(r.GetRequest())
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	if !s.begin(req.JobID, cancel) {
		return status.Errorf(codes.AlreadyExists, "job %q is running already", Clean(req.JobID, 64))
	}
	defer s.end(req.JobID)

	reporter := &streamReporter{stream: stream}
	facts, err := s.plugin.Bootstrap(ctx, req, reporter)
	if err != nil {
		failure := asFailure(ctx, err)
		if ctx.Err() != nil {
			// Whatever else went wrong, it did so as it was ended.
			failure.Code = CodeCanceled
		}
		return reporter.finish(&pb.BootstrapResponse{
			Event: &pb.BootstrapResponse_Failed{Failed: failureToProto(failure)},
		})
	}
	return reporter.finish(&pb.BootstrapResponse{
		Event: &pb.BootstrapResponse_Finished{Finished: &pb.Finished{Facts: factsToProto(facts)}},
	})
}

func (s *service) Cancel(_ context.Context, r *pb.CancelRequest) (*pb.CancelResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A job that has just ended is not an error: the host cannot know.
	if cancel := s.jobs[r.GetJobId()]; cancel != nil {
		cancel()
	}
	return &pb.CancelResponse{}, nil
}

func (s *service) begin(job string, cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[job] != nil {
		return false
	}
	s.jobs[job] = cancel
	return true
}

func (s *service) end(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.jobs, job)
}

// streamReporter sends events in the order of the calls, from any goroutine.
type streamReporter struct {
	mu     sync.Mutex
	stream grpc.ServerStreamingServer[pb.BootstrapResponse]
	ended  bool // by the terminal event, or because the host is gone
}

func (r *streamReporter) Phase(name string) {
	r.send(&pb.BootstrapResponse{Event: &pb.BootstrapResponse_Phase{
		Phase: &pb.Phase{Name: Clean(name, MaxText)},
	}})
}

func (r *streamReporter) Progress(p Progress) {
	r.send(&pb.BootstrapResponse{Event: &pb.BootstrapResponse_Progress{
		Progress: &pb.Progress{
			Done: p.Done, Total: p.Total, Unit: Clean(p.Unit, MaxText), Item: Clean(p.Item, MaxText),
		},
	}})
}

func (r *streamReporter) Line(text string) {
	r.send(&pb.BootstrapResponse{Event: &pb.BootstrapResponse_Line{
		Line: &pb.Line{Text: Clean(text, MaxText)},
	}})
}

func (r *streamReporter) Warning(message, hint string) {
	r.send(&pb.BootstrapResponse{Event: &pb.BootstrapResponse_Warning{
		Warning: &pb.Warning{Message: Clean(message, MaxText), Hint: Clean(hint, MaxText)},
	}})
}

func (r *streamReporter) send(event *pb.BootstrapResponse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if r.stream.Send(event) != nil {
		r.ended = true // the host is gone, and ctx says so to the plugin
	}
}

// finish sends the terminal event and makes the reporter deaf, since a
// goroutine that the plugin left running may still report.
func (r *streamReporter) finish(event *pb.BootstrapResponse) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	if err := r.stream.Send(validated(event)); err != nil {
		return fmt.Errorf("the terminal event: %w", err)
	}
	return nil
}
