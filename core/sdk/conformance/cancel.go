package conformance

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

var cancelRules = []Rule{
	{
		ID: RuleCancelEnds, Group: GroupCancel,
		Says: "A job that is cancelled ends within 10 seconds.",
		Why:  "^C is to end what it began. A plugin that goes on is killed, and its tools with it, wherever they are.",
		Meet: "When ctx is done, or Cancel is called, end the tools: SIGTERM, and SIGKILL soon after. sdk.Command does.",

		check: called(func(*exam) []string { return nil }),
	},
	{
		ID: "cancel-says-so", Group: GroupCancel,
		Says: "It ends with a failed event of code CANCELED.",
		Why:  "Any other reads as a fault of the mirror or of a tool that died.",
		Meet: "Return ctx's error or a failure with CodeCanceled, whatever the tool said as it was ended. Without the SDK: remember that Cancel was called.",

		check: called(func(e *exam) []string {
			switch end := e.cancelled.end; {
			case e.cancelled.err != nil && e.has(RuleCancelEnds, RuleSurvives):
				return nil
			case end == nil:
				return []string{"there was no failed event"}
			case end.GetCode() != pb.FailureCode_FAILURE_CODE_CANCELED:
				return []string{"it ended with " + end.GetCode().String() + ": " + short(end.GetMessage())}
			}
			return nil
		}),
	},
	{
		ID: "cancel-leaves-nothing", Group: GroupCancel,
		Says: "When it has ended, nothing of it runs or is mounted.",
		Why:  "The tree is removed then, and what is mounted in it would be emptied, or what still runs would write into it.",
		Meet: "Wait for the tools, and undo the mounts, in the same way as at the end of a job that was not cancelled.",

		check: called(func(e *exam) []string { return e.cancelled.left }),
	},
	{
		ID: "cancel-survives", Group: GroupCancel,
		Says: "The plugin can be asked something else afterwards.",
		Why:  "Cancelling concerns one job and not the plugin.",
		Meet: "Do not exit on Cancel.",

		check: called(func(e *exam) []string { return e.cancelled.after }),
	},
}

// cancellation is what came of a job that was cancelled.
type cancellation struct {
	err   error // how the job ended
	fault error // why it could not be looked at
	early bool  // it had ended before
	end   *pb.Failed
	left  []string
	after []string
}

// called is a rule about a job that was cancelled.
func called(look func(e *exam) []string) check {
	return func(ctx context.Context, e *exam) outcome {
		if err := e.cancel(ctx); err != nil {
			return skipped("%s", reason(err))
		}
		if e.cancelled.early {
			return skipped("the job had ended before it was cancelled")
		}
		return of(look(e))
	}
}

// cancel plays a job that is cancelled with its first event, or when it is
// silent for a while.
func (e *exam) cancel(ctx context.Context) error {
	if e.cancelled != nil {
		return e.cancelled.fault
	}
	if err := e.validate(ctx); err != nil {
		return err
	}
	if e.Offline {
		return errOffline
	}
	if e.has(RuleTalks) {
		return errors.New("a job is silent for longer than it may be")
	}
	e.cancelled = &cancellation{}
	grants, remove, err := e.Subject.Directories()
	if err == nil {
		err = errors.Join(e.cancelled.play(ctx, e, grants), remove())
	}
	e.cancelled.fault = err
	return err
}

func (c *cancellation) play(ctx context.Context, e *exam, grants Grants) error {
	grants.Readable = e.readable()
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var once sync.Once
	ended := false
	s, err := e.start(ctx, grants, &tap{heard: func(m proto.Message) {
		event, ok := m.(*pb.BootstrapResponse)
		if !ok {
			return
		}
		if failed := event.GetFailed(); failed != nil {
			c.end = failed
		}
		once.Do(func() {
			ended = event.GetFailed() != nil || event.GetFinished() != nil
			cancel()
		})
	}})
	if err != nil {
		return err
	}
	before, err := look(s, grants)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	_, c.err = s.Bootstrap(ctx, e.request(grants), quiet{})
	c.early = ended || ctx.Err() == nil
	var failure *sdk.Failure
	switch {
	case errors.Is(c.err, sdk.ErrUnresponsive):
		e.breaks(RuleCancelEnds, c.err.Error())
		return s.Close()
	case errors.As(c.err, &failure), errors.Is(c.err, sdk.ErrProtocol):
		_ = e.note(c.err)
	case c.err != nil && !errors.Is(c.err, context.Canceled): // which is of a plugin that lives, and says nothing
		e.breaks(RuleSurvives, "cancelled, "+c.err.Error())
		return s.Close()
	}
	c.left, err = before.leftAlive(whole, s)
	if _, failed := s.Validate(whole, e.Request); failed != nil {
		c.after = []string{"Validate fails: " + failed.Error()}
	}
	return errors.Join(err, s.Close())
}
