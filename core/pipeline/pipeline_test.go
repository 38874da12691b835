package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
)

// step is a stage that writes what happens to it into a shared log.
type step struct {
	name      string
	log       *[]string
	settled   bool
	failApply error
	failUndo  error
	onApply   func()
}

func (s *step) Name() string { return s.name }

func (s *step) Check(context.Context) ([]pipeline.Change, error) {
	*s.log = append(*s.log, "check "+s.name)
	if s.settled {
		return nil, nil
	}
	return []pipeline.Change{{Action: "create", Subject: s.name}}, nil
}

func (s *step) Apply(context.Context) error {
	*s.log = append(*s.log, "apply "+s.name)
	if s.onApply != nil {
		s.onApply()
	}
	return s.failApply
}

func (s *step) Undo(ctx context.Context) error {
	*s.log = append(*s.log, "undo "+s.name)
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.failUndo
}

var errBroken = errors.New("broken")

func TestRunAppliesInOrderAndUndoesInReverse(t *testing.T) {
	tests := []struct {
		name   string
		mend   func(a, b, c *step)
		undo   bool
		begun  []string
		want   []string
		failed string
		undone bool
	}{
		{
			name: "all is well",
			mend: func(_, _, _ *step) {},
			want: []string{"check a", "apply a", "check b", "apply b", "check c", "apply c"},
		},
		{
			name: "a settled stage is left alone",
			mend: func(_, b, _ *step) { b.settled = true },
			want: []string{"check a", "apply a", "check b", "check c", "apply c"},
		},
		{
			name: "a failure undoes what was begun, itself included", undo: true,
			mend:   func(_, b, _ *step) { b.failApply = errBroken },
			want:   []string{"check a", "apply a", "check b", "apply b", "undo b", "undo a"},
			failed: "b", undone: true,
		},
		{
			name:   "a failure keeps what was made when told so",
			mend:   func(_, b, _ *step) { b.failApply = errBroken },
			want:   []string{"check a", "apply a", "check b", "apply b"},
			failed: "b",
		},
		{
			name: "what was there before the run is not undone", undo: true,
			mend:   func(a, _, c *step) { a.settled, c.failApply = true, errBroken },
			want:   []string{"check a", "check b", "apply b", "check c", "apply c", "undo c", "undo b"},
			failed: "c", undone: true,
		},
		{
			name: "what an interrupted run began is undone too", undo: true, begun: []string{"a"},
			mend:   func(a, _, c *step) { a.settled, c.failApply = true, errBroken },
			want:   []string{"check a", "check b", "apply b", "check c", "apply c", "undo c", "undo b", "undo a"},
			failed: "c", undone: true,
		},
		{
			name: "one stage that cannot be undone does not keep the others", undo: true,
			mend:   func(_, b, c *step) { c.failApply, b.failUndo = errBroken, errBroken },
			want:   []string{"check a", "apply a", "check b", "apply b", "check c", "apply c", "undo c", "undo b", "undo a"},
			failed: "c",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log []string
			a, b, c := &step{name: "a", log: &log}, &step{name: "b", log: &log}, &step{name: "c", log: &log}
			tt.mend(a, b, c)
			r := pipeline.Runner{Stages: []pipeline.Stage{a, b, c}, Undo: tt.undo, Begun: tt.begun, UndoTimeout: time.Minute}
			_, err := r.Run(context.Background())
			if diff := cmp.Diff(tt.want, log); diff != "" {
				t.Errorf("what happened (-want +got):\n%s", diff)
			}
			var failed *pipeline.Error
			switch {
			case tt.failed == "" && err != nil:
				t.Fatalf("Run: %v", err)
			case tt.failed != "" && !errors.As(err, &failed):
				t.Fatalf("Run: %v, want a failure of %s", err, tt.failed)
			case failed != nil && (failed.Stage != tt.failed || failed.Undone != tt.undone || !errors.Is(err, errBroken)):
				t.Errorf("failed = %+v, want stage %s, undone %v", failed, tt.failed, tt.undone)
			}
		})
	}
}

func TestUndoRunsAlthoughTheRunWasInterrupted(t *testing.T) {
	var log []string
	cause := errors.New("the user pressed ^C")
	ctx, cancel := context.WithCancelCause(context.Background())
	a := &step{name: "a", log: &log, onApply: func() { cancel(cause) }}
	b := &step{name: "b", log: &log}
	r := pipeline.Runner{Stages: []pipeline.Stage{a, b}, Undo: true, UndoTimeout: time.Minute}
	_, err := r.Run(ctx)
	if !errors.Is(err, cause) {
		t.Errorf("Run: %v, want %v", err, cause)
	}
	if diff := cmp.Diff([]string{"check a", "apply a", "undo a"}, log); diff != "" {
		t.Errorf("what happened (-want +got):\n%s", diff)
	}
	var failed *pipeline.Error
	if !errors.As(err, &failed) || failed.Undo != nil {
		t.Errorf("undo met a context that was done: %v", err)
	}
}

func TestPlanAppliesNothing(t *testing.T) {
	var log []string
	r := pipeline.Runner{Stages: []pipeline.Stage{
		&step{name: "a", log: &log},
		&step{name: "b", log: &log, settled: true},
	}}
	plan, err := r.Plan(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := []pipeline.Planned{{Stage: "a", Changes: []pipeline.Change{{Action: "create", Subject: "a"}}}, {Stage: "b"}}
	if diff := cmp.Diff(want, plan); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"check a", "check b"}, log); diff != "" {
		t.Errorf("what happened (-want +got):\n%s", diff)
	}
}

// memory is a journal that fails when told to.
type memory struct {
	entries []string
	fail    string
}

func (m *memory) Record(stage, event string) error {
	if m.fail == event {
		return errBroken
	}
	m.entries = append(m.entries, stage+" "+event)
	return nil
}

func TestNothingIsAppliedThatTheJournalDoesNotHold(t *testing.T) {
	var log []string
	j := &memory{fail: pipeline.Begin}
	s := pipeline.Journaled(&step{name: "a", log: &log}, j)
	if err := s.Apply(context.Background()); !errors.Is(err, errBroken) {
		t.Errorf("Apply: %v, want the journal's error", err)
	}
	if slices.Contains(log, "apply a") {
		t.Error("the stage was applied although its beginning could not be recorded")
	}
}

func TestJournalTellsHowAStageEnded(t *testing.T) {
	tests := []struct {
		name string
		step step
		want []string
	}{
		{"done", step{}, []string{"a begin", "a done", "a undone"}},
		{"failed", step{failApply: errBroken}, []string{"a begin", "a failed", "a undone"}},
		{"cannot be undone", step{failUndo: errBroken}, []string{"a begin", "a done"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log []string
			j := &memory{}
			tt.step.name, tt.step.log = "a", &log
			r := pipeline.Runner{Stages: []pipeline.Stage{pipeline.Journaled(&tt.step, j)}, UndoTimeout: time.Minute}
			_, _ = r.Run(context.Background())
			_ = r.UndoAll(context.Background())
			if diff := cmp.Diff(tt.want, j.entries); diff != "" {
				t.Errorf("journal (-want +got):\n%s", diff)
			}
		})
	}
}

func TestObserverSeesEachTurn(t *testing.T) {
	var log []string
	var seen []string
	tell := func(e pipeline.Event) { seen = append(seen, e.Stage+" "+string(e.Kind)) }
	stages := []pipeline.Stage{
		pipeline.Observed(&step{name: "a", log: &log}, tell),
		pipeline.Observed(&step{name: "b", log: &log, settled: true}, tell),
		pipeline.Observed(&step{name: "c", log: &log, failApply: errBroken}, tell),
	}
	r := pipeline.Runner{Stages: stages, Undo: true, UndoTimeout: time.Minute}
	_, _ = r.Run(context.Background())
	want := []string{
		"a started", "a finished", "b unchanged", "c started", "c failed",
		"c undoing", "c undone", "a undoing", "a undone",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
