// Package pipeline runs stages in order and takes them back in reverse. It
// knows nothing of containers: what a stage does is the stage's own affair.
//
// Nothing is applied before the journal holds, on disk, that it is about to be,
// so that whatever a crash leaves behind is accounted for.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Change is one thing that a stage would do.
type Change struct {
	Action  string `json:"action"` // "create", "update", "remove", "run"
	Subject string `json:"subject"`
	Detail  string `json:"detail,omitempty"`
}

// Stage is one step on the way to a machine.
type Stage interface {
	// Name is one word in lower case.
	Name() string
	// Check returns what Apply would change, and touches nothing. None means
	// that everything is already so.
	Check(ctx context.Context) ([]Change, error)
	// Apply makes it so. It must come to the same end when an earlier Apply
	// was cut off at any point.
	Apply(ctx context.Context) error
}

// Undoer is a Stage that can take back what its Apply made. Undo must succeed
// after an Apply that was cut off at any point, and when there is nothing left.
type Undoer interface {
	Undo(ctx context.Context) error
}

// Error is the failure of one stage.
type Error struct {
	Stage string
	Err   error
	// Undo is what went wrong while taking stages back; nil when nothing did
	// or nothing was taken back.
	Undo error
	// Undone says that everything begun was taken back.
	Undone bool
}

func (e *Error) Error() string {
	s := e.Stage + ": " + e.Err.Error()
	if e.Undo != nil {
		s += " (and undoing it: " + e.Undo.Error() + ")"
	}
	return s
}

// Unwrap returns what made the stage fail and what made the undoing fail.
func (e *Error) Unwrap() []error {
	if e.Undo == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Undo}
}

// Planned is what one stage would change.
type Planned struct {
	Stage   string   `json:"stage"`
	Changes []Change `json:"changes"`
}

// Result is what one stage did in a run.
type Result struct {
	Stage    string
	Changed  bool
	Duration time.Duration
}

// Runner runs stages in the order of the slice.
type Runner struct {
	Stages []Stage
	// Undo says that a failed run takes back what it began.
	Undo bool
	// Begun names stages that an earlier run began and did not finish with
	// the whole; a failing run takes them back too.
	Begun []string
	// UndoTimeout bounds the taking back; it runs even though the run's own
	// context is done.
	UndoTimeout time.Duration
}

// Plan asks each stage what it would change.
func (r *Runner) Plan(ctx context.Context) ([]Planned, error) {
	plan := make([]Planned, 0, len(r.Stages))
	for _, s := range r.Stages {
		changes, err := s.Check(ctx)
		if err != nil {
			return plan, &Error{Stage: s.Name(), Err: err}
		}
		plan = append(plan, Planned{s.Name(), changes})
	}
	return plan, nil
}

// Run applies every stage that has something to change. Its error is an *Error.
func (r *Runner) Run(ctx context.Context) ([]Result, error) {
	results := make([]Result, 0, len(r.Stages))
	begun := map[string]bool{}
	for _, name := range r.Begun {
		begun[name] = true
	}
	for i, s := range r.Stages {
		start := time.Now()
		changed, err := runStage(ctx, s, begun)
		if err != nil {
			return results, r.fail(ctx, i, err, begun)
		}
		results = append(results, Result{s.Name(), changed, time.Since(start)})
	}
	return results, nil
}

func runStage(ctx context.Context, s Stage, begun map[string]bool) (changed bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, context.Cause(ctx)
	}
	changes, err := s.Check(ctx)
	if err != nil || len(changes) == 0 {
		return false, err
	}
	begun[s.Name()] = true
	return true, s.Apply(ctx)
}

func (r *Runner) fail(ctx context.Context, at int, cause error, begun map[string]bool) error {
	failed := &Error{Stage: r.Stages[at].Name(), Err: cause}
	if !r.Undo {
		return failed
	}
	failed.Undo = r.takeBack(ctx, func(s Stage) bool { return begun[s.Name()] })
	failed.Undone = failed.Undo == nil
	return failed
}

// UndoAll takes every stage back, the last first, and joins the errors: one
// stage that cannot be undone does not keep the others.
func (r *Runner) UndoAll(ctx context.Context) error {
	return r.takeBack(ctx, func(Stage) bool { return true })
}

func (r *Runner) takeBack(ctx context.Context, want func(Stage) bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.UndoTimeout)
	defer cancel()
	var errs []error
	for i := len(r.Stages) - 1; i >= 0; i-- {
		u, ok := r.Stages[i].(Undoer)
		if !ok || !want(r.Stages[i]) {
			continue
		}
		if err := u.Undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Stages[i].Name(), err))
		}
	}
	return errors.Join(errs...)
}
