package conformance

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

var planRules = []Rule{
	{
		ID: "plan-commands", Group: GroupPlan,
		Says: "Plan names the commands that Bootstrap would run, each with its arguments, or the packages, or both.",
		Why:  "`nspawn-build plan` shows them to whoever wants to know what root is about to run.",
		Meet: "Build the arguments by the same code that Bootstrap uses, with a word such as TARGET for what is not known yet.",

		check: validated(func(ctx context.Context, e *exam) outcome {
			s, err := e.start(ctx, e.asking(), &tap{})
			if err != nil {
				return skipped("%s", reason(err))
			}
			p, err := s.Plan(ctx, e.validated.answer.Resolved)
			if err = errors.Join(e.unanswered(err), s.Close()); err != nil {
				return seen("Plan fails: %v", err)
			}
			var all []string
			for i, argv := range p.Commands {
				if len(argv) == 0 || argv[0] == "" {
					all = append(all, fmt.Sprintf("commands[%d] names no program", i))
				}
			}
			if len(p.Commands) == 0 && len(p.Packages) == 0 {
				all = append(all, "there are neither commands nor packages in it")
			}
			return of(all)
		}),
	},
	{
		ID: "plan-touches-nothing", Group: GroupPlan,
		Says: "Plan leaves nothing behind: no file, no process, no mount.",
		Why:  "plan and --dry-run promise that nothing is touched.",
		Meet: "Do not share code with Bootstrap that makes anything; make the directories there.",

		check: untouched(func(ctx context.Context, s *open, req sdk.Request) error {
			_, err := s.Plan(ctx, req)
			return err
		}),
	},
}

var stateRules = []Rule{
	{
		ID: "state-answers", Group: GroupState,
		Says: "A plugin with the feature state names its engine, and says the same of repositories that have not changed.",
		Why:  "By it the host knows whether a tree that it kept is still what would be made now.",
		Meet: "Digest the indexes of the repositories and nothing that changes by itself, such as a time. Without a way to tell, return an empty map, or leave the feature out.",

		check: stated(func(ctx context.Context, e *exam) outcome {
			s, err := e.start(ctx, e.asking(), &tap{})
			if err != nil {
				return skipped("%s", reason(err))
			}
			defer s.Close() //nolint:errcheck // what it has answered counts
			first, err := s.State(ctx, e.validated.answer.Resolved)
			if err != nil {
				return seen("State fails: %v", e.unanswered(err))
			}
			second, err := s.State(ctx, e.validated.answer.Resolved)
			switch {
			case err != nil:
				return seen("asked again, State fails: %v", e.unanswered(err))
			case first.Engine == "":
				return seen("engine is empty")
			case !reflect.DeepEqual(first, second):
				return seen("asked again, it says something else: %s", differences(first, second))
			}
			return kept()
		}),
	},
	{
		ID: "state-touches-nothing", Group: GroupState,
		Says: "State leaves nothing behind: no file, no process, no mount.",
		Why:  "It is asked before each machine, also where nothing is made.",
		Meet: "Keep what is downloaded for it in memory, or in a temporary directory that is removed.",

		check: stated(untouched(func(ctx context.Context, s *open, req sdk.Request) error {
			_, err := s.State(ctx, req)
			return err
		})),
	},
}

// stated is a rule for plugins that have the feature state.
func stated(look check) check {
	return validated(func(ctx context.Context, e *exam) outcome {
		switch {
		case !e.described.Has(sdk.FeatureState):
			return skipped("the plugin has not the feature %q", sdk.FeatureState)
		case e.Offline:
			return skipped("its mirrors cannot be reached")
		}
		return look(ctx, e)
	})
}

// untouched is a rule that a call leaves nothing behind, though it might.
func untouched(call func(ctx context.Context, s *open, req sdk.Request) error) check {
	return validated(func(ctx context.Context, e *exam) outcome {
		grants, remove, err := e.Subject.Directories()
		if err != nil {
			return skipped("%s", reason(err))
		}
		all, err := e.leftBy(ctx, grants, call)
		if err = errors.Join(err, remove()); err != nil {
			return skipped("%s", reason(err))
		}
		return of(all)
	})
}

func (e *exam) leftBy(ctx context.Context, grants Grants, call func(context.Context, *open, sdk.Request) error) ([]string, error) {
	grants.Readable = e.readable()
	s, err := e.start(ctx, grants, &tap{})
	if err != nil {
		return nil, err
	}
	before, err := look(s, grants)
	if err == nil {
		req := e.validated.answer.Resolved
		req.CacheDirectory, req.WorkDirectory = grants.CacheDirectory, grants.WorkDirectory
		err = e.unanswered(call(ctx, s, req))
	}
	var all []string
	if err == nil {
		all, err = before.left(ctx, s)
	}
	return all, errors.Join(err, s.Close())
}
