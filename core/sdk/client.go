package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// MaxMessage is the greatest size of one protobuf message, in bytes, that
// either side accepts. The facts of a tree with 20,000 packages fit in it.
const MaxMessage = 8 << 20

// Client is the host's side of the protocol: a Plugin that is somewhere else.
// It trusts nothing that it receives: text is cleaned, counts are bounded, and
// what breaks the protocol's rules is a *ProtocolError.
type Client struct {
	// Grace is how long a cancelled Bootstrap may take to end. Zero means 10
	// seconds.
	Grace time.Duration
	// Silence is how long a Bootstrap may go without any event. Zero means 15
	// minutes: packages have been seen that take that long to configure.
	Silence time.Duration

	rpc pb.BootstrapServiceClient
}

// NewClient returns a client that speaks over conn.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{rpc: pb.NewBootstrapServiceClient(conn)}
}

// ErrUnresponsive is returned by Bootstrap when the plugin sent no event for
// Client.Silence, or did not end within Client.Grace after it was cancelled.
var ErrUnresponsive = errors.New("the plugin does not respond")

var bounded = grpc.MaxCallRecvMsgSize(MaxMessage)

// Describe implements Plugin.
func (c *Client) Describe(ctx context.Context) (Description, error) {
	r, err := c.rpc.Describe(ctx, &pb.DescribeRequest{}, bounded)
	if err != nil {
		return Description{}, callFailed(ctx, RuleDescribeAnswers, "Describe", err)
	}
	return checkDescription(descriptionFromProto(r))
}

// Validate implements Plugin.
func (c *Client) Validate(ctx context.Context, req Request) (Validation, error) {
	r, err := c.rpc.Validate(ctx, &pb.ValidateRequest{Request: requestToProto(req)}, bounded)
	if err != nil {
		return Validation{}, callFailed(ctx, RuleAnswers, "Validate", err)
	}
	return checkValidation(req, validationFromProto(r))
}

// Plan implements Plugin.
func (c *Client) Plan(ctx context.Context, req Request) (Plan, error) {
	r, err := c.rpc.Plan(ctx, &pb.PlanRequest{Request: requestToProto(req)}, bounded)
	if err != nil {
		return Plan{}, callFailed(ctx, RuleAnswers, "Plan", err)
	}
	return checkPlan(planFromProto(r))
}

// State implements Stater. Ask only a plugin that has FeatureState.
func (c *Client) State(ctx context.Context, req Request) (State, error) {
	r, err := c.rpc.State(ctx, &pb.StateRequest{Request: requestToProto(req)}, bounded)
	if err != nil {
		return State{}, callFailed(ctx, RuleAnswers, "State", err)
	}
	return checkState(stateFromProto(r))
}

// Bootstrap implements Plugin. When ctx is done it asks the plugin to cancel
// the job and waits for its last event; the error then wraps the context's. An
// error that wraps ErrUnresponsive means that the plugin still runs.
func (c *Client) Bootstrap(ctx context.Context, req Request, report Reporter) (Facts, error) {
	// The stream outlives ctx, for the sake of the events that follow a Cancel.
	streamCtx, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	job := &job{report: report}
	stream, err := c.rpc.Bootstrap(streamCtx, &pb.BootstrapRequest{Request: requestToProto(req)}, bounded)
	if err != nil {
		return Facts{}, job.broken(ctx, errorFromStatus(err))
	}
	events := make(chan received)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		receive(streamCtx, stream, events)
	}()
	defer func() { <-stopped }()

	var asking sync.WaitGroup
	defer asking.Wait()
	defer abandon()
	cancel := func() { asking.Go(func() { c.cancel(streamCtx, req.JobID) }) }

	if err := c.follow(ctx, cancel, events, job); err != nil {
		return Facts{}, err
	}
	facts, err := job.result()
	if ctx.Err() != nil {
		// Whatever it ended with, the caller no longer wants it.
		return Facts{}, canceled(ctx, err)
	}
	return facts, err
}

// canceled joins how the job ended with why it was to end.
func canceled(ctx context.Context, err error) error {
	failure := &Failure{Code: CodeCanceled, Message: "the bootstrap was cancelled", Err: ctx.Err()}
	var reported *Failure
	if errors.As(err, &reported) {
		failure.Tail = reported.Tail
	}
	return failure
}

// received is one event, or the error that ended the stream.
type received struct {
	event *pb.BootstrapResponse
	err   error
}

func receive(ctx context.Context, stream grpc.ServerStreamingClient[pb.BootstrapResponse], to chan<- received) {
	for {
		event, err := stream.Recv()
		select {
		case to <- received{event, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// follow passes events on until the stream ends well, which is nil, or not. It
// calls cancel once when ctx is done.
func (c *Client) follow(ctx context.Context, cancel func(), events <-chan received, job *job) error {
	silence := time.NewTimer(orDefault(c.Silence, 15*time.Minute))
	defer silence.Stop()
	var deadline <-chan time.Time
	done := ctx.Done()
	for {
		select {
		case r := <-events:
			if errors.Is(r.err, io.EOF) {
				return nil
			}
			if r.err != nil {
				return job.broken(ctx, errorFromStatus(r.err))
			}
			if err := job.take(r.event); err != nil {
				return err
			}
			silence.Reset(job.patience(orDefault(c.Silence, 15*time.Minute)))
		case <-done:
			done = nil
			deadline = time.After(orDefault(c.Grace, 10*time.Second))
			cancel()
		case <-deadline:
			return fmt.Errorf("%w: the job was cancelled and goes on (%w)", ErrUnresponsive, ctx.Err())
		case <-silence.C:
			return job.silent(orDefault(c.Silence, 15*time.Minute))
		}
	}
}

// cancel asks once; that it had no effect shows in the stream.
func (c *Client) cancel(ctx context.Context, id string) {
	_, _ = c.rpc.Cancel(ctx, &pb.CancelRequest{JobId: id})
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
