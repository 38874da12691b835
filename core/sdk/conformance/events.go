package conformance

import (
	"context"
	"fmt"
	"regexp"

	"google.golang.org/protobuf/proto"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

var eventRules = []Rule{
	{
		ID: sdk.RuleOneEnd, Group: GroupEvents,
		Says: "A job ends with exactly one finished or failed event, and nothing follows it.",
		Why:  "Without one nobody knows whether the tree is whole; with two, which of them is true.",
		Meet: "Return from Bootstrap once all has ended, goroutines that report above all. With the SDK the rest follows. Without it, catch what a job raises and send failed: a gRPC status in its place is no event.",

		check: ending,
	},
	{
		ID: sdk.RuleStreamEnds, Group: GroupEvents,
		Says: "The stream ends with its last event.",
		Why:  "The host waits for its end, to know that the plugin has let go of the tree.",
		Meet: "Return from the call once the event is sent.",

		check: ending,
	},
	{
		ID: sdk.RuleEventsBounded, Group: GroupEvents,
		Says: "A job has at most a million events, and a thousand warnings.",
		Why:  "A loop that reports would go on for ever, and be all that is seen.",
		Meet: "Report progress a few times a second, and a warning once.",

		check: made(func(_ context.Context, e *exam) outcome {
			if n := e.made.events.warnings; n > 1000 {
				return seen("there are %d warnings", n)
			}
			return kept()
		}),
	},
	{
		ID: "events-phases", Group: GroupEvents,
		Says: "A job begins with a phase; each is a short word: download, unpack, configure.",
		Why:  "It is what people see of a job that takes minutes.",
		Meet: "Report a phase before anything else, and one whenever another part begins.",

		check: made(func(_ context.Context, e *exam) outcome { return of(e.made.events.phases) }),
	},
	{
		ID: "events-progress", Group: GroupEvents,
		Says: "Progress never shrinks within a phase and a unit, and never exceeds its total.",
		Why:  "A bar that runs backwards says that something is wrong. The host would hide it.",
		Meet: "Count what is done; when the total is not known yet, leave it 0.",

		check: made(func(_ context.Context, e *exam) outcome { return of(e.made.events.progress) }),
	},
	{
		ID: "events-warnings", Group: GroupEvents,
		Says: "A warning has a message.",
		Why:  "It is printed as it is.",
		Meet: "Say what the user should know, and in hint what they can do.",

		check: made(func(_ context.Context, e *exam) outcome { return of(e.made.events.mute) }),
	},
}

// ending is about how jobs end. The one that is refused shows it as well.
func ending(ctx context.Context, e *exam) outcome {
	err := e.bootstrap(ctx)
	if err == nil {
		return kept()
	}
	if e.refused != nil && e.refused.fault == nil {
		return kept()
	}
	return skipped("%s", reason(err))
}

// events is what is remembered of a job's.
type events struct {
	warnings int
	phases   []string // what is wrong with them, and so on
	progress []string
	mute     []string

	any   bool
	phase string
	last  *pb.Progress
}

var phaseForm = regexp.MustCompile(`^[a-z][a-z -]{0,31}$`)

// most is how many of one kind are remembered.
const most = 10

// take looks at a message from the plugin, if it is an event.
func (e *events) take(m proto.Message) {
	event, ok := m.(*pb.BootstrapResponse)
	if !ok {
		return
	}
	note := func(list *[]string, format string, args ...any) {
		if len(*list) < most {
			*list = append(*list, fmt.Sprintf(format, args...))
		}
	}
	switch v := event.GetEvent().(type) {
	case *pb.BootstrapResponse_Phase:
		e.phase, e.last = v.Phase.GetName(), nil
		if !phaseForm.MatchString(e.phase) {
			note(&e.phases, "%s is no short word", short(e.phase))
		}
	case *pb.BootstrapResponse_Progress:
		e.advance(v.Progress, func(format string, args ...any) { note(&e.progress, format, args...) })
	case *pb.BootstrapResponse_Warning:
		if e.warnings++; v.Warning.GetMessage() == "" {
			note(&e.mute, "warning %d has no message", e.warnings)
		}
	}
	_, failed := event.GetEvent().(*pb.BootstrapResponse_Failed)
	if !e.any && e.phase == "" && !failed && event.GetEvent() != nil {
		note(&e.phases, "the first event is no phase")
	}
	e.any = e.any || event.GetEvent() != nil
}

func (e *events) advance(p *pb.Progress, note func(string, ...any)) {
	if p.GetTotal() != 0 && p.GetDone() > p.GetTotal() {
		note("in %s, %d of %d %s are done", short(e.phase), p.GetDone(), p.GetTotal(), p.GetUnit())
	}
	if e.last != nil && e.last.GetUnit() == p.GetUnit() && p.GetDone() < e.last.GetDone() {
		note("in %s, %d %s are done after %d", short(e.phase), p.GetDone(), p.GetUnit(), e.last.GetDone())
	}
	e.last = p
}
