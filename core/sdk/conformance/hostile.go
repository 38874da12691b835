package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// attack is a request with one thing in it that cannot be meant.
type attack struct {
	name string // which field has which value
	req  sdk.Request
}

// attacks are what must be refused of a request.
func (e *exam) attacks() []attack {
	var all []attack
	add := func(field, value string, change func(*sdk.Request)) {
		req := e.Request
		req.Options = maps.Clone(req.Options)
		change(&req)
		all = append(all, attack{field + " " + short(value), req})
	}
	for _, v := range []string{"-x", "../../etc", "no such release", "a\nb", "%i", "$(id)", "x\x00y", "\x1b[2J", strings.Repeat("r", 70_000)} {
		add("release", v, func(r *sdk.Request) { r.Release = v })
	}
	for _, v := range []string{"pdp11", "-x", "../x"} {
		add("architecture", v, func(r *sdk.Request) { r.Architecture = v })
	}
	for _, v := range []string{"-x", "--root=/", "a\nb", "../x", "a b", "$(id)", ""} {
		add("packages", v, func(r *sdk.Request) { r.Packages = []string{v} })
	}
	for _, v := range []string{"-x", "--config=/etc/shadow", "http://example.org/\nServer = http://example.net/", ""} {
		add("mirrors", v, func(r *sdk.Request) { r.Mirrors = []string{v} })
	}
	for _, v := range []string{"-x", "relative/keys.asc", "/no/such/keyring.gpg", "/etc/../etc/passwd\n"} {
		add("keyring", v, func(r *sdk.Request) { r.Keyring = v })
	}
	for _, o := range e.described.Options {
		if len(o.Choices) == 0 {
			continue
		}
		for _, v := range []string{"none-of-these", "-x"} {
			add("options."+o.Name, v, func(r *sdk.Request) {
				if r.Options == nil {
					r.Options = map[string]string{}
				}
				r.Options[o.Name] = v
			})
		}
	}
	return all
}

// hostile looks at what became of requests that must be refused, of which one
// session gets all: it has to live through them.
func hostile(ctx context.Context, e *exam) outcome {
	// Of a request that is refused anyway nothing is learned by making it worse.
	if err := e.validate(ctx); err != nil {
		return skipped("%s", reason(err))
	}
	v := e.validated
	if !v.tried {
		v.tried = true
		v.hostile = e.attack(ctx)
	}
	return of(v.hostile)
}

func (e *exam) attack(ctx context.Context) (survived []string) {
	var s *open
	for _, a := range e.attacks() {
		if s == nil {
			var err error
			if s, err = e.start(ctx, e.asking(), &tap{}); err != nil {
				return append(survived, "it could not be started again: "+err.Error())
			}
		}
		answer, err := s.Validate(ctx, a.req)
		var failure *sdk.Failure
		switch {
		case errors.As(err, &failure):
			survived = append(survived, fmt.Sprintf("%s: Validate fails (%s), where a diagnostic would be the answer", a.name, failure.Message))
		case err != nil:
			survived = append(survived, fmt.Sprintf("%s: %v", a.name, e.unanswered(err)))
			_ = s.Close()
			s = nil
			if e.mute != nil {
				return survived
			}
		default:
			e.validated.judge(answer)
			if !refuses(answer) {
				survived = append(survived, a.name+" is not refused")
			}
		}
	}
	if s != nil {
		if err := s.Close(); err != nil {
			survived = append(survived, err.Error())
		}
	}
	return survived
}

func refuses(v sdk.Validation) bool {
	for _, d := range v.Diagnostics {
		if d.Severity == sdk.SeverityError {
			return true
		}
	}
	return false
}
