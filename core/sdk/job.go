package sdk

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// Bounds on what one job may say.
const (
	maxEvents   = 1_000_000
	maxWarnings = 1_000
	// afterEnd is how long a stream may stay open after its terminal event.
	afterEnd = 5 * time.Second
)

// job holds the protocol's rules for the events of one Bootstrap and passes on
// those that keep to them.
type job struct {
	report Reporter

	events   int
	warnings int
	progress Progress // the last of the current phase
	terminal string   // "finished" or "failed", once it was
	facts    Facts
	failure  *Failure
}

// take checks one event and passes it on.
func (j *job) take(event *pb.BootstrapResponse) error {
	if j.terminal != "" {
		return broke(RuleOneEnd, "exactly one terminal event, and none after it",
			fmt.Sprintf("%s after the %s event", kind(event), j.terminal))
	}
	if j.events++; j.events > maxEvents {
		return broke(RuleEventsBounded, "no more than a million events in a job", "there were more")
	}
	switch e := event.GetEvent().(type) {
	case *pb.BootstrapResponse_Phase:
		j.progress = Progress{}
		j.report.Phase(Clean(e.Phase.GetName(), 64))
	case *pb.BootstrapResponse_Progress:
		j.advance(e.Progress)
	case *pb.BootstrapResponse_Line:
		j.report.Line(Clean(e.Line.GetText(), MaxText))
	case *pb.BootstrapResponse_Warning:
		if j.warnings++; j.warnings <= maxWarnings {
			j.report.Warning(Clean(e.Warning.GetMessage(), MaxText), Clean(e.Warning.GetHint(), MaxText))
		}
	case *pb.BootstrapResponse_Finished:
		j.terminal = "finished"
		facts, err := checkFacts(factsFromProto(e.Finished.GetFacts()))
		if err != nil {
			return err
		}
		j.facts = facts
	case *pb.BootstrapResponse_Failed:
		j.terminal = "failed"
		j.failure = failureFromProto(e.Failed)
	}
	// An event of a kind that is not known comes from a newer plugin of the
	// same major version: it is passed over.
	return nil
}

// advance passes progress on so that it never shrinks within a phase and never
// exceeds its total.
func (j *job) advance(p *pb.Progress) {
	next := Progress{
		Done:  max(p.GetDone(), j.progress.Done),
		Total: max(p.GetTotal(), j.progress.Total),
		Unit:  Clean(p.GetUnit(), 32),
		Item:  Clean(p.GetItem(), 256),
	}
	if next.Unit != j.progress.Unit {
		// Another thing is counted from here on.
		next.Done, next.Total = p.GetDone(), p.GetTotal()
	}
	if next.Total != 0 {
		next.Done = min(next.Done, next.Total)
	}
	j.progress = next
	j.report.Progress(next)
}

// result is what the job came to once its stream has ended.
func (j *job) result() (Facts, error) {
	switch j.terminal {
	case "finished":
		return j.facts, nil
	case "failed":
		return Facts{}, j.failure
	}
	return Facts{}, broke(RuleOneEnd, "exactly one terminal event", "the stream ended with no finished or failed event")
}

// broken is the error of a stream that ended in another way than it should.
func (j *job) broken(ctx context.Context, err error) error {
	if j.failure != nil {
		return j.failure // what the plugin said first is the cause
	}
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the stream of events broke off: %w (%w)", err, ctx.Err())
	}
	if !raised(ctx, err) {
		return fmt.Errorf("the stream of events broke off: %w", err)
	}
	if j.terminal != "" {
		return brokeBy(err, RuleStreamEnds, "the stream ends well after its terminal event", "after the "+j.terminal+" event the stream ended with "+statusText(err))
	}
	return brokeBy(err, RuleOneEnd, "exactly one terminal event", "the stream ended with "+statusText(err)+" in place of a finished or failed event")
}

// patience is how long the next event may take.
func (j *job) patience(silence time.Duration) time.Duration {
	if j.terminal != "" {
		return min(silence, afterEnd)
	}
	return silence
}

func (j *job) silent(limit time.Duration) error {
	if j.terminal != "" {
		return broke(RuleStreamEnds, "the stream ends with the terminal event",
			fmt.Sprintf("it was still open %s after the %s event", j.patience(limit), j.terminal))
	}
	return fmt.Errorf("%w: no event for %s", ErrUnresponsive, limit)
}

func kind(event *pb.BootstrapResponse) string {
	switch event.GetEvent().(type) {
	case *pb.BootstrapResponse_Phase:
		return "phase"
	case *pb.BootstrapResponse_Progress:
		return "progress"
	case *pb.BootstrapResponse_Line:
		return "line"
	case *pb.BootstrapResponse_Warning:
		return "warning"
	case *pb.BootstrapResponse_Finished:
		return "finished"
	case *pb.BootstrapResponse_Failed:
		return "failed"
	}
	return "an unknown event"
}
