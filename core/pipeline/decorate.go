package pipeline

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Kind says what an Event tells.
type Kind string

// The kinds of events. A stage that has nothing to change sends Unchanged only.
const (
	Started   Kind = "started"
	Finished  Kind = "finished"
	Unchanged Kind = "unchanged"
	Failed    Kind = "failed"
	Undoing   Kind = "undoing"
	Undone    Kind = "undone"
	Progress  Kind = "progress"
	Line      Kind = "line"
	Warning   Kind = "warning"
)

// Event is something that happened in a stage.
type Event struct {
	Stage    string
	Kind     Kind
	Text     string        // the phase of Progress; the words of Line and Warning
	Hint     string        // of Warning
	Done     uint64        // of Progress
	Total    uint64        // of Progress; 0 when not known
	Item     string        // of Progress
	Duration time.Duration // of Finished and Failed
	Err      error         // of Failed
}

// Observer is told of events, from several goroutines at once.
type Observer func(Event)

// Journal keeps what was begun and done. When Record returns nil the entry is
// on disk.
type Journal interface {
	Record(stage, event string) error
}

// The events of a Journal.
const (
	Begin  = "begin"
	Done   = "done"
	Fail   = "failed"
	Unmade = "undone"
)

type observed struct {
	Stage
	tell Observer
}

// Observed tells tell when s starts, ends and is undone.
func Observed(s Stage, tell Observer) Stage { return observed{s, tell} }

func (o observed) Check(ctx context.Context) ([]Change, error) {
	changes, err := o.Stage.Check(ctx)
	switch {
	case err != nil:
		o.tell(Event{Stage: o.Name(), Kind: Failed, Err: err})
	case len(changes) == 0:
		o.tell(Event{Stage: o.Name(), Kind: Unchanged})
	}
	return changes, err
}

func (o observed) Apply(ctx context.Context) error {
	start := time.Now()
	o.tell(Event{Stage: o.Name(), Kind: Started})
	err := o.Stage.Apply(ctx)
	kind := Finished
	if err != nil {
		kind = Failed
	}
	o.tell(Event{Stage: o.Name(), Kind: kind, Duration: time.Since(start), Err: err})
	return err
}

func (o observed) Undo(ctx context.Context) error {
	u, ok := o.Stage.(Undoer)
	if !ok {
		return nil
	}
	o.tell(Event{Stage: o.Name(), Kind: Undoing})
	if err := u.Undo(ctx); err != nil {
		return err
	}
	o.tell(Event{Stage: o.Name(), Kind: Undone})
	return nil
}

type journaled struct {
	Stage
	journal Journal
}

// Journaled records in j that s is about to be applied, and how that ended.
func Journaled(s Stage, j Journal) Stage { return journaled{s, j} }

func (d journaled) Apply(ctx context.Context) error {
	if err := d.journal.Record(d.Name(), Begin); err != nil {
		return err
	}
	if err := d.Stage.Apply(ctx); err != nil {
		// The journal keeps the begin entry whether or not this one is
		// written, and that is what undoing goes by.
		_ = d.journal.Record(d.Name(), Fail)
		return err
	}
	return d.journal.Record(d.Name(), Done)
}

func (d journaled) Undo(ctx context.Context) error {
	u, ok := d.Stage.(Undoer)
	if !ok {
		return nil
	}
	if err := u.Undo(ctx); err != nil {
		return err
	}
	// Where there is no room for it, the stage is undone once more some day.
	if err := d.journal.Record(d.Name(), Unmade); !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	return nil
}

type explained struct {
	Stage
	explain func(error) error
}

// Explained puts the error of s into other words while what caused it is still
// there to be looked at: before anything is undone.
func Explained(s Stage, explain func(error) error) Stage { return explained{s, explain} }

func (e explained) Apply(ctx context.Context) error {
	if err := e.Stage.Apply(ctx); err != nil {
		return e.explain(err)
	}
	return nil
}

func (e explained) Undo(ctx context.Context) error {
	u, ok := e.Stage.(Undoer)
	if !ok {
		return nil
	}
	if err := u.Undo(ctx); err != nil {
		return e.explain(err)
	}
	return nil
}
