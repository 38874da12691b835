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
			s, err := e.start(ctx, Grants{}, &tap{})
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
	s, err := e.start(ctx, Grants{}, &tap{grease: true})
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
	var failure *sdk.Failure
	switch {
	case errors.As(err, &failure):
		return seen("Validate fails: %v", err)
	case err != nil:
		return seen("Validate fails: %v", e.unanswered(err))
	case !reflect.DeepEqual(v, e.validated.answer):
		return seen("Validate says something else: %s", differences(e.validated.answer, v))
	}
	if _, err := s.Plan(ctx, e.validated.answer.Resolved); err != nil {
		return seen("Plan fails: %v", e.unanswered(err))
	}
	return kept()
}

// callLimit is how long a call may take that has no other limit.
const callLimit = 30 * time.Second
