package conformance

import (
	"context"
	"errors"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

var bootstrapRules = []Rule{
	{
		ID: "bootstrap-finishes", Group: GroupBootstrap,
		Says: "Bootstrap makes the tree of a request that Validate found nothing wrong with.",
		Why:  "It is what the plugin is for.",
		Meet: "Find out what stands in the way in Validate. What only shows later is a failure with a code, a message, a hint and the tool's last lines.",

		check: made(func(_ context.Context, e *exam) outcome {
			var protocol *sdk.ProtocolError
			switch err := e.made.err; {
			case errors.As(err, &protocol), err != nil && e.has(RuleSurvives, RuleTalks):
				return skipped("%s", reason(err))
			case err != nil:
				return of(append([]string{"it fails: " + err.Error()}, tail(err)...))
			}
			return kept()
		}),
	},
	{
		ID: RuleSurvives, Group: GroupBootstrap,
		Says: "The plugin lives until the host ends it.",
		Why:  "A plugin that dies amid a job cannot say what went wrong, and all that the user gets is a stack trace.",
		Meet: "Recover from panics of your own, or better have none; never exit in a job. Return a failure.",

		check: made(func(context.Context, *exam) outcome { return kept() }),
	},
	{
		ID: RuleTalks, Group: GroupBootstrap,
		Says: "A job says something at least every 15 minutes.",
		Why:  "A job that is silent for longer is taken to hang, and killed: nobody can tell the difference.",
		Meet: "Pass on the tool's output as lines, or its progress, while it comes.",

		check: made(func(context.Context, *exam) outcome { return kept() }),
	},
	{
		ID: "bootstrap-leaves-nothing", Group: GroupBootstrap,
		Says: "When the job has ended, nothing of it runs or is mounted.",
		Why:  "A mount that is left hides what is in the tree, and removing the tree would empty what is mounted there. A process that is left writes into a tree that has been handed over. The host ends both with the plugin, but the tree is then not what was reported.",
		Meet: "Wait for every program that was started, end agents such as gpg-agent, and unmount in reverse order. sdk.Command ends all that a tool leaves in its process group, target.Mounts undoes what it mounted.",

		check: finished(func(_ context.Context, e *exam) outcome { return of(e.made.left) }),
	},
	{
		ID: "writes-where-granted", Group: GroupBootstrap,
		Says: "It writes to the target, the cache directory and the work directory, and nowhere else.",
		Why:  "Everything else is the host's. There it is read-only for a plugin, and one that makes it writable again does so to a machine that is not its own.",
		Meet: "Give tools directories below the work directory for all that they keep: caches, databases, keyrings, logs. /tmp is the plugin's own, and gone afterwards.",

		check: finished(func(_ context.Context, e *exam) outcome { return of(e.made.strayed) }),
	},
	{
		ID: "output-bounded", Group: GroupBootstrap,
		Says: "It prints at most 16 MiB beside the protocol.",
		Why:  "What a plugin prints is for finding its faults, and is kept with debugging on. A flood fills disks and hides what matters.",
		Meet: "Pass a tool's output on as lines of the job, and print nothing else but what went wrong.",

		check: made(func(_ context.Context, e *exam) outcome {
			const most = 16 << 20
			if e.Subject.InProcess() {
				return skipped("%v", errInProcess)
			}
			if n := e.made.printed; n > most {
				return seen("it has printed %d MiB", n>>20)
			}
			return kept()
		}),
	},
}

// job is what came of a whole Bootstrap.
type job struct {
	grants  Grants
	remove  func() error
	facts   sdk.Facts
	err     error // how the job ended
	fault   error // why it could not be looked at, which says nothing of the plugin
	events  events
	left    []string // processes and mounts
	strayed []string // what is where nothing was granted
	printed int64
}

// tail is the end of what a tool has said of a failure.
func tail(err error) []string {
	const most = 5
	var failure *sdk.Failure
	if !errors.As(err, &failure) {
		return nil
	}
	lines := failure.Tail
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	var all []string
	for _, l := range lines {
		all = append(all, "| "+l)
	}
	return all
}

var errOffline = errors.New("its mirrors cannot be reached")

// bootstrap makes a tree, and keeps it for the rules to look at.
func (e *exam) bootstrap(ctx context.Context) error {
	if e.made != nil {
		return e.made.fault
	}
	if err := e.validate(ctx); err != nil {
		return err
	}
	if e.Offline {
		return errOffline
	}
	e.made = &job{}
	e.made.fault = e.made.play(ctx, e)
	return e.made.fault
}

func (j *job) play(ctx context.Context, e *exam) (err error) {
	if j.grants, j.remove, err = e.Subject.Directories(); err != nil {
		j.err = err
		return err
	}
	j.grants.Readable = e.readable()
	s, err := e.start(ctx, j.grants, &tap{heard: func(m proto.Message) { j.events.take(m) }})
	if err != nil {
		j.err = err
		return err
	}
	before, err := look(s, j.grants)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	root, err := os.Stat(j.grants.Target)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	j.facts, j.err = s.Bootstrap(ctx, e.request(j.grants), quiet{})
	e.ended(j.err)
	if j.err == nil {
		var strayed error
		j.left, err = before.leftAlive(ctx, s)
		j.strayed, strayed = before.strayed(s)
		err = errors.Join(err, strayed)
		if now, gone := os.Stat(j.grants.Target); gone != nil || !os.SameFile(root, now) {
			j.strayed = append(j.strayed, "the target is another directory than the one that was given")
		}
	}
	err = errors.Join(err, s.Close())
	j.printed = s.Printed()
	return err
}

// request is the one that is tried, for directories.
func (e *exam) request(g Grants) sdk.Request {
	req := e.validated.answer.Resolved
	req.Target, req.CacheDirectory, req.WorkDirectory = g.Target, g.CacheDirectory, g.WorkDirectory
	return req
}

// ended notes which rule a job broke that ended in another way than by an event.
func (e *exam) ended(err error) {
	var failure *sdk.Failure
	switch {
	case err == nil, errors.As(e.note(err), &failure), errors.Is(err, sdk.ErrProtocol), errors.Is(err, context.Canceled):
	case errors.Is(err, sdk.ErrUnresponsive):
		e.breaks(RuleTalks, err.Error())
	default:
		e.breaks(RuleSurvives, err.Error())
	}
}

// made is a rule about a job, whatever came of it.
func made(look check) check {
	return func(ctx context.Context, e *exam) outcome {
		if err := e.bootstrap(ctx); err != nil {
			return skipped("%s", reason(err))
		}
		return look(ctx, e)
	}
}

// finished is a rule about a job that made a tree.
func finished(look check) check {
	return made(func(ctx context.Context, e *exam) outcome {
		if e.made.err != nil {
			return skipped("no tree was made")
		}
		return look(ctx, e)
	})
}

// quiet is a Reporter that nobody listens to.
type quiet struct{}

func (quiet) Phase(string)           {}
func (quiet) Progress(sdk.Progress)  {}
func (quiet) Line(string)            {}
func (quiet) Warning(string, string) {}
