package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// exam is one run over a plugin. Each act is played once, when the first rule
// asks for it, and the rules look at what was seen.
type exam struct {
	Config

	broken map[string][]string // by rule: what the host said of it

	hearing sync.Mutex
	blot    []string // texts that are not clean

	described *description
	validated *validation
	refused   *refusal
	made      *job
	cancelled *cancellation
	booted    *boot
	mute      error // why nothing more can be asked: it does not answer
}

// Run runs the rules. It returns an error when nothing could be said; a plugin
// that breaks rules is a Report that is not OK.
func Run(ctx context.Context, c Config) (Report, error) {
	chosen, err := choose(c.Only)
	if err != nil {
		return Report{}, err
	}
	e := &exam{Config: c, broken: map[string][]string{}}
	defer func() { _ = e.clear() }() // when it was done in order, that does nothing
	r := Report{Started: time.Now().UTC()}
	for _, rule := range chosen {
		if ctx.Err() != nil {
			return Report{}, context.Cause(ctx)
		}
		if e.Begin != nil {
			e.Begin(rule)
		}
		begun := time.Now()
		o := rule.check(ctx, e)
		result := Result{Rule: rule, Seconds: time.Since(begun).Seconds()}
		result.decide(o)
		r.Results = append(r.Results, result)
	}
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	for _, b := range e.blot {
		e.breaks("text-clean", b)
	}
	for i := range r.Results {
		result := &r.Results[i]
		// A rule may be broken in an act that was played after it was looked at.
		if seen := e.broken[result.ID]; len(seen) > 0 {
			result.decide(outcome{seen: seen})
		}
		r.count(*result)
	}
	if e.described != nil {
		r.Plugin, r.Version = e.described.Name, e.described.Version
	}
	r.Distro, r.Release = e.Request.Distro, e.Request.Release
	if e.validated != nil && e.validated.err == nil {
		r.Release = e.validated.answer.Resolved.Release
	}
	return r, e.clear()
}

// choose are the rules that are asked for by their names or those of groups.
func choose(only []string) ([]Rule, error) {
	var chosen []Rule
	known := map[string]bool{}
	for _, rule := range Rules() {
		known[rule.ID], known[rule.Group] = true, true
		if len(only) == 0 || slices.Contains(only, rule.ID) || slices.Contains(only, rule.Group) {
			chosen = append(chosen, rule)
		}
	}
	for _, name := range only {
		if !known[name] {
			return nil, &UnknownRuleError{name}
		}
	}
	return chosen, nil
}

// UnknownRuleError means that there is no rule and no group of a name.
type UnknownRuleError struct{ Name string }

func (e *UnknownRuleError) Error() string {
	return fmt.Sprintf("%q is the name of no rule and of no group of rules", e.Name)
}

// open is a session with what stands in between.
type open struct {
	Session
	*tap
}

// start starts the plugin, and notes what breaks a rule.
func (e *exam) start(ctx context.Context, grants Grants, t *tap) (*open, error) {
	if e.mute != nil {
		return nil, e.mute
	}
	hear := t.heard
	t.heard = func(m proto.Message) {
		e.clean(m)
		if hear != nil {
			hear(m)
		}
	}
	session, err := e.Subject.Start(ctx, grants, func(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
		t.ClientConnInterface = conn
		return t
	})
	if err != nil {
		return nil, e.note(err)
	}
	return &open{session, t}, nil
}

// note remembers which rule an error says is broken, and returns it.
func (e *exam) note(err error) error {
	var start *StartError
	var protocol *sdk.ProtocolError
	switch {
	case errors.As(err, &protocol) && protocol.ID != "":
		e.breaks(protocol.ID, err.Error())
	case errors.As(err, &start):
		e.breaks(start.ID, err.Error())
	}
	return err
}

func (e *exam) breaks(id, seen string) {
	if !slices.Contains(e.broken[id], seen) {
		e.broken[id] = append(e.broken[id], seen)
	}
}

// clean notes texts that cannot be shown as they are.
func (e *exam) clean(m proto.Message) {
	const most = 5
	e.hearing.Lock()
	defer e.hearing.Unlock()
	texts(m.ProtoReflect(), func(field, text string) {
		if len(e.blot) < most && sdk.Clean(text, sdk.MaxText) != strings.ReplaceAll(text, "\t", " ") {
			e.blot = append(e.blot, fmt.Sprintf("%s is %s", field, short(text)))
		}
	})
}

// short shows a text of the plugin's, whatever is in it.
func short(text string) string {
	const most = 80
	if len(text) > most {
		return fmt.Sprintf("%q… (%d bytes)", strings.ToValidUTF8(text[:most], ""), len(text))
	}
	return fmt.Sprintf("%q", text)
}

// has reports whether one of the rules was seen to be broken.
func (e *exam) has(ids ...string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return len(e.broken[id]) > 0 })
}

// machine is this host's architecture, as `uname -m` prints it.
func machine() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Machine[:])
}

// clear removes what the acts have left for the rules to look at.
func (e *exam) clear() error {
	var errs []error
	if e.made != nil && e.made.remove != nil {
		errs = append(errs, e.made.remove())
		e.made.remove = nil
	}
	return errors.Join(errs...)
}

// What checks return.

func kept() outcome { return outcome{} }

func skipped(format string, args ...any) outcome { return outcome{skip: fmt.Sprintf(format, args...)} }

func seen(format string, args ...any) outcome {
	return outcome{seen: []string{fmt.Sprintf(format, args...)}}
}

// of makes an outcome of all that was seen.
func of(list []string) outcome {
	const most = 10
	if n := len(list) - most; n > 0 {
		list = append(slices.Clone(list[:most]), fmt.Sprintf("and %d more", n))
	}
	return outcome{seen: list}
}

// host is a rule that the host itself finds broken, in an act.
func host(act func(e *exam, ctx context.Context) error) check {
	return func(ctx context.Context, e *exam) outcome {
		if err := act(e, ctx); err != nil {
			return skipped("%s", reason(err))
		}
		return kept()
	}
}

// reason is an error as why something was not looked at.
func reason(err error) string { return sdk.Clean(err.Error(), 300) }
