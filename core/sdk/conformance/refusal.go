package conformance

import (
	"context"
	"errors"
	"os"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

var refusalRules = []Rule{
	{
		ID: "refusal-fails", Group: GroupRefusal,
		Says: "Bootstrap itself refuses a request that Validate refuses: with code INVALID_REQUEST, a message and a hint, and the target stays empty.",
		Why:  "Validate was asked earlier, perhaps by another process, and the host's files may have changed since. What is run as root does not rely on that.",
		Meet: "Begin Bootstrap by resolving the request with the same code as Validate; sdk.Findings.Err is the failure.",

		check: validated(func(ctx context.Context, e *exam) outcome {
			if err := e.refuse(ctx); err != nil {
				return skipped("%s", reason(err))
			}
			return of(e.refused.seen)
		}),
	},
}

// refusal is what came of a Bootstrap that had to be refused.
type refusal struct {
	seen  []string
	fault error // why it could not be looked at
}

// refuse plays a job for a release that is an option. It needs no mirror, and
// shows how a job of the plugin's ends also where there is none.
func (e *exam) refuse(ctx context.Context) error {
	if e.refused == nil {
		e.refused = &refusal{}
		e.refused.fault = e.refused.play(ctx, e)
	}
	return e.refused.fault
}

func (r *refusal) play(ctx context.Context, e *exam) error {
	grants, remove, err := e.Subject.Directories()
	if err != nil {
		return err
	}
	grants.Readable = e.readable()
	s, err := e.start(ctx, grants, &tap{})
	if err != nil {
		return errors.Join(err, remove())
	}
	_, err = s.Bootstrap(ctx, e.hopeless(grants), quiet{})
	e.ended(err)
	r.seen = refusedWell(err)
	if entries, _ := os.ReadDir(grants.Target); len(entries) > 0 {
		r.seen = append(r.seen, "the target has "+short(entries[0].Name()))
	}
	return errors.Join(s.Close(), remove())
}

func refusedWell(err error) []string {
	var failure *sdk.Failure
	switch {
	case err == nil:
		return []string{`a release called "--no-such-release" was made`}
	case errors.Is(err, sdk.ErrProtocol):
		return nil // which has a rule of its own
	case !errors.As(err, &failure):
		return []string{err.Error()}
	case failure.Code != sdk.CodeInvalidRequest:
		return []string{"its code is not INVALID_REQUEST: " + failure.Message}
	case failure.Hint == "":
		return []string{"it has no hint: " + failure.Message}
	}
	return nil
}

// hopeless is a request that has to be refused.
func (e *exam) hopeless(grants Grants) sdk.Request {
	req := e.request(grants)
	req.Release = "--no-such-release"
	return req
}
