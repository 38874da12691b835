package conformance

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

var toleranceRules = []Rule{
	{
		ID: "unknown-fields", Group: GroupTolerance,
		Says: "Fields that the plugin does not know change nothing.",
		Why:  "Within a major version fields are only ever added: a later nspawn-build sends more, and plugins of today are to work with it.",
		Meet: "Use a protobuf library, which passes over them. Do not reject a message for them, nor turn it into JSON strictly.",

		check: validated(tolerates),
	},
	{
		ID: "cancel-unknown", Group: GroupTolerance,
		Says: "Cancel for a job that does not run is no error.",
		Why:  "The host cannot know that a job has just ended.",
		Meet: "Answer with an empty CancelResponse.",

		check: validated(func(ctx context.Context, e *exam) outcome {
			s, err := e.start(ctx, e.asking(), &tap{})
			if err != nil {
				return skipped("%s", reason(err))
			}
			defer s.Close() //nolint:errcheck // what it has answered counts
			ctx, cancel := context.WithTimeout(ctx, callLimit)
			defer cancel()
			if _, err := pb.NewBootstrapServiceClient(s.tap).Cancel(ctx, &pb.CancelRequest{JobId: "none"}); err != nil {
				return seen("it answers: %v", err)
			}
			if _, err := s.Validate(ctx, e.Request); err != nil {
				return seen("afterwards it answers nothing: %v", e.unanswered(err))
			}
			return kept()
		}),
	},
}

// tolerates asks once as this version does and once as a later one would.
func tolerates(ctx context.Context, e *exam) outcome {
	grants, remove, err := e.Subject.Directories()
	if err != nil {
		return skipped("%s", reason(err))
	}
	o := e.asked(ctx, grants)
	if err := remove(); err != nil {
		return skipped("%s", reason(err))
	}
	return o
}

func (e *exam) asked(ctx context.Context, grants Grants) outcome {
	grants.Readable = e.readable()
	s, err := e.start(ctx, grants, &tap{grease: true})
	if err != nil {
		return seen("Describe fails: %v", err)
	}
	defer s.Close() //nolint:errcheck // what it has answered counts
	d, err := s.Describe(ctx)
	if err != nil {
		return seen("Describe fails: %v", err)
	}
	if !reflect.DeepEqual(d, e.described.Description) {
		return seen("Describe says something else: %s", differences(e.described.Description, d))
	}
	v, err := s.Validate(ctx, e.Request)
	switch {
	case err != nil:
		return seen("Validate fails: %v", e.slow(err))
	case !reflect.DeepEqual(v, e.validated.answer):
		return seen("Validate says something else: %s", differences(e.validated.answer, v))
	}
	if _, err := s.Plan(ctx, e.validated.answer.Resolved); err != nil {
		return seen("Plan fails: %v", e.slow(err))
	}
	// This needs no mirror. That it is refused well has a rule of its own.
	_, err = s.Bootstrap(ctx, e.hopeless(grants), quiet{})
	var failure *sdk.Failure
	if err != nil && !errors.As(err, &failure) && !errors.Is(err, sdk.ErrProtocol) {
		return seen("Bootstrap fails: %v", e.slow(err))
	}
	return kept()
}

// slow remembers a plugin that hangs.
func (e *exam) slow(err error) error {
	if errors.Is(err, sdk.ErrUnresponsive) {
		e.mute = err
	}
	return err
}

// callLimit is how long a call may take that has no other limit.
const callLimit = 30 * time.Second
