package conformance

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

var validateRules = []Rule{
	{
		ID: RuleAnswers, Group: GroupValidate,
		Says: "Validate, Plan and State answer in time, whatever they are asked, and where they cannot they say why: by a gRPC status with a Failed in its details.",
		Why:  "They are asked while somebody waits, and before anything is decided. A plugin that does not answer within 30 seconds (State: 2 minutes) is killed. A status alone, such as an exception makes, tells neither whose fault it is nor what to do.",
		Meet: "Look at the request and at the host's files. Leave what takes long, downloads above all, to Bootstrap; give up on a mirror that does not answer. With the SDK every error has its Failed; without it, catch what a call raises, and see docs/protocol.md.",

		check: host((*exam).validate),
	},
	{
		ID: "validate-good", Group: GroupValidate,
		Says: "The request that is tried, with nothing but defaults unless told otherwise, is fine.",
		Why:  "With a request that is refused nothing else can be tried. And what takes no flags takes no manual: `nspawn-build --distro DISTRO NAME` is to do.",
		Meet: "Choose a default for everything for which there is one. When a tool is missing on this host that is its error to report; install it, or give --mirror, --keyring and --option as the plugin needs them.",

		check: func(ctx context.Context, e *exam) outcome {
			if err := e.validate(ctx); err != nil && !errors.Is(err, errRefused) {
				return skipped("%s", reason(err))
			}
			return of(e.validated.refusals())
		},
	},
	{
		ID: "validate-defaults", Group: GroupValidate,
		Says: "The request that Validate resolves has every default filled in, and resolves to itself.",
		Why:  "The host plans, keys its cache and bootstraps by the resolved request. What is left open there may mean another thing tomorrow.",
		Meet: "Return in resolved the request with release, architecture and every option that was described, and change nothing that was given.",

		check: validated(resolves),
	},
	{
		ID: "validate-refuses", Group: GroupValidate,
		Says: "What cannot be is refused by an error of Validate's: a release or architecture that does not exist, a choice that is none, and values that are made to be taken for something else.",
		Why:  "Values of a request become arguments of programs that run as root, and parts of paths and files. `-x` is an option there, `../x` another file, and a line end begins another line.",
		Meet: "Check every field against what is known, or against a form; sdk.Findings collects what there is to say. Put `--` before arguments all the same.",

		check: hostile,
	},
	{
		ID: "validate-hints", Group: GroupValidate,
		Says: "A diagnostic names a field of the request, says what is wrong, and an error what would do instead.",
		Why:  "It is all that the user gets to see.",
		Meet: "Set field (release, mirrors, options.KEY), message and hint in each.",

		check: func(ctx context.Context, e *exam) outcome {
			if o := hostile(ctx, e); o.skip != "" {
				return o
			}
			return of(e.validated.unclear)
		},
	},
	{
		ID: "validate-touches-nothing", Group: GroupValidate,
		Says: "Validate leaves nothing behind: no file, no process, no mount.",
		Why:  "It is asked by plan, by --dry-run and for requests that are then refused.",
		Meet: "Only read. What has to be unpacked to be looked at goes into a temporary directory that is removed.",

		check: untouched(func(ctx context.Context, s *open, req sdk.Request) error {
			_, err := s.Validate(ctx, req)
			return err
		}),
	},
}

// validation is what came of Validate.
type validation struct {
	answer sdk.Validation
	err    error

	tried   bool // the hostile requests
	hostile []string
	unclear []string // diagnostics that say too little
}

func (v *validation) refusals() (all []string) {
	for _, d := range v.answer.Diagnostics {
		if d.Severity == sdk.SeverityError {
			all = append(all, strings.TrimSuffix(fmt.Sprintf("%s: %s (%s)", d.Field, d.Message, d.Hint), " ()"))
		}
	}
	return all
}

var errRefused = errors.New("the request that is tried is refused, see validate-good")

// validate has the request checked that is tried.
func (e *exam) validate(ctx context.Context) error {
	if err := e.describe(ctx); err != nil {
		return err
	}
	if e.validated != nil {
		return e.validated.err
	}
	v := &validation{}
	e.validated = v
	if _, made := e.distro(); !made {
		v.err = fmt.Errorf("the plugin makes no %q", e.Request.Distro)
		return v.err
	}
	s, err := e.start(ctx, e.asking(), &tap{})
	if err != nil {
		v.err = err
		return err
	}
	v.answer, err = s.Validate(ctx, e.Request)
	v.err = errors.Join(e.unanswered(err), s.Close())
	if v.err == nil {
		v.judge(v.answer)
		if len(v.refusals()) > 0 {
			v.err = errRefused
		}
	}
	return v.err
}

// unanswered notes that a call was not answered as it should. A plugin that
// hangs is not asked again.
func (e *exam) unanswered(err error) error {
	var failure *sdk.Failure
	if err == nil || errors.As(err, &failure) {
		return err
	}
	if !errors.Is(e.note(err), sdk.ErrProtocol) {
		e.breaks(RuleAnswers, err.Error())
	}
	if errors.Is(err, sdk.ErrUnresponsive) {
		e.mute = err
	}
	return err
}

// judge looks at how diagnostics are written.
func (v *validation) judge(answer sdk.Validation) {
	for _, d := range answer.Diagnostics {
		switch {
		case !knownField(d.Field):
			v.unclear = append(v.unclear, fmt.Sprintf("field is %q, which is none of a request's: %s", d.Field, d.Message))
		case d.Message == "":
			v.unclear = append(v.unclear, d.Field+": it has no message")
		case d.Severity == sdk.SeverityError && d.Hint == "":
			v.unclear = append(v.unclear, fmt.Sprintf("%s: %s: it has no hint", d.Field, d.Message))
		}
	}
}

// fields are those of a request, as a diagnostic names them.
var fields = map[string]bool{
	"distro": true, "release": true, "architecture": true, "mirrors": true, "keyring": true, "packages": true,
	"options": true, "snapshot": true, "source_date_epoch": true, "pinned": true, "host": true, "tools": true,
}

func knownField(name string) bool {
	name, _, _ = strings.Cut(name, ".")
	name, _, _ = strings.Cut(name, "[")
	return fields[name]
}

// validated is a rule about a request that is fine.
func validated(look func(ctx context.Context, e *exam) outcome) check {
	return func(ctx context.Context, e *exam) outcome {
		if err := e.validate(ctx); err != nil {
			return skipped("%s", reason(err))
		}
		return look(ctx, e)
	}
}

func resolves(ctx context.Context, e *exam) outcome {
	r := e.validated.answer.Resolved
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if r.Release == "" {
		say("release is empty")
	}
	if r.Architecture != e.Request.Architecture {
		say("architecture was given as %q and is %q", e.Request.Architecture, r.Architecture)
	}
	for _, o := range e.described.Options {
		if _, there := r.Options[o.Name]; !there && o.Default != "" {
			say("options lacks %s, whose default is %q", o.Name, o.Default)
		}
	}
	s, err := e.start(ctx, e.asking(), &tap{})
	if err != nil {
		return skipped("%s", reason(err))
	}
	again, err := s.Validate(ctx, r)
	if err = errors.Join(e.unanswered(err), s.Close()); err != nil {
		return skipped("%s", reason(err))
	}
	for _, d := range again.Diagnostics {
		if d.Severity == sdk.SeverityError {
			say("the resolved request is refused: %s: %s", d.Field, d.Message)
		}
	}
	if !reflect.DeepEqual(again.Resolved, r) && !strings.Contains(strings.Join(all, " "), "refused") {
		say("resolved again it differs: %s", differences(r, again.Resolved))
	}
	return of(all)
}
