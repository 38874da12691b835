package machines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// record puts the record of a machine on disk of which nothing else exists.
func record(t *testing.T, h *House, name string, change func(*store.Machine)) {
	t.Helper()
	rec, err := h.draft(Wanted{Spec: wanted(name)}, spec.DriverDirect)
	if err == nil {
		rec, err = h.reserve(t.Context(), rec)
	}
	if err == nil {
		err = rec.Update(change)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestMachinesAreChosenByLabelAndByTime(t *testing.T) {
	h, _ := newHouse(t)
	now := time.Now()
	label := func(key, value string) func(*store.Machine) {
		return func(m *store.Machine) { m.Spec.Labels = map[string]string{key: value} }
	}
	record(t, h, "web", label("project", "web"))
	record(t, h, "api", label("project", "api"))
	record(t, h, "old", func(m *store.Machine) {
		label("project", "web")(m)
		m.Expires = now.Add(-time.Second)
	})
	record(t, h, "young", func(m *store.Machine) { m.Expires = now.Add(time.Hour) })
	web := []spec.Selector{{Key: "project", Value: "web"}}
	for _, tt := range []struct {
		name   string
		choice Choice
		want   []string
	}{
		{"all", Choice{}, []string{"api", "old", "web", "young"}},
		{"by label", Choice{Labels: web}, []string{"old", "web"}},
		{"by two labels", Choice{Labels: append(web, spec.Selector{Key: "none", Any: true})}, nil},
		{"expired", Choice{Expired: now}, []string{"old"}},
		{"expired later", Choice{Expired: now.Add(time.Hour)}, []string{"old", "young"}},
		{"expired, by label", Choice{Labels: web, Expired: now}, []string{"old"}},
	} {
		got, err := h.Chosen(tt.choice)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestTheTimeOfAMachineBeginsWhenItIsMade(t *testing.T) {
	h, _ := newHouse(t)
	s := wanted("box")
	s.TTL = spec.Duration(2 * time.Hour)
	rec, err := h.draft(Wanted{Spec: s}, spec.DriverDirect)
	if err != nil {
		t.Fatal(err)
	}
	if m := rec.Machine(); m.Expires != m.Created.Add(2*time.Hour) {
		t.Errorf("made at %s, it expires at %s", m.Created, m.Expires)
	}
	if rec, err = h.draft(Wanted{Spec: wanted("forever")}, spec.DriverDirect); err != nil || !rec.Machine().Expires.IsZero() {
		t.Errorf("one without an end expires at %s: %v", rec.Machine().Expires, err)
	}
}

func TestWhatChangedSinceItWasChosenIsNotDestroyed(t *testing.T) {
	h, d := newHouse(t)
	now := time.Now()
	record(t, h, "renewed", func(m *store.Machine) { m.Expires = now.Add(time.Hour) })
	destroyed, err := h.DestroyChosen(t.Context(), "renewed", Choice{Expired: now})
	if err != nil || destroyed || len(d.stopped) > 0 {
		t.Errorf("destroyed: %v, stopped: %v, %v", destroyed, d.stopped, err)
	}
	if _, err := h.Store.Load("renewed"); err != nil {
		t.Error(err)
	}
	if destroyed, err := h.DestroyChosen(t.Context(), "gone", Choice{}); err != nil || destroyed {
		t.Errorf("one that somebody else destroyed: %v, %v", destroyed, err)
	}
	lock, err := h.Store.Lock("renewed")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.DestroyChosen(t.Context(), "renewed", Choice{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("one that is worked on: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

func TestManyAreWorkedOnAtOnceButNotAll(t *testing.T) {
	var names []string
	for i := range 3 * AtOnce {
		names = append(names, fmt.Sprint("box", i))
	}
	var running, most atomic.Int32
	var together sync.WaitGroup
	together.Add(AtOnce) // the first that begin wait for each other
	var begun atomic.Int32
	results, errs := Each(t.Context(), names, func(_ context.Context, name string) (string, error) {
		now := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		if begun.Add(1) <= AtOnce {
			together.Done()
			together.Wait()
		}
		if name == "box3" {
			return "", errors.New("box3 is broken")
		}
		return name + " done", nil
	})
	if most.Load() != AtOnce {
		t.Errorf("at most %d at once, want %d", most.Load(), AtOnce)
	}
	for i, name := range names {
		if i == 3 {
			if errs[i] == nil {
				t.Error("the failure is lost")
			}
		} else if results[i] != name+" done" || errs[i] != nil {
			t.Errorf("%s: %q, %v", name, results[i], errs[i])
		}
	}
}

func TestWhatWasNotBegunWhenInterruptedIsLeftAlone(t *testing.T) {
	cause := errors.New("^C")
	ctx, cancel := context.WithCancelCause(t.Context())
	var did []string
	_, errs := Each(ctx, []string{"a"}, func(context.Context, string) (bool, error) {
		cancel(cause)
		return true, nil
	})
	if errs[0] != nil {
		t.Errorf("what was begun failed: %v", errs[0])
	}
	_, errs = Each(ctx, []string{"b", "c"}, func(_ context.Context, name string) (bool, error) {
		did = append(did, name)
		return true, nil
	})
	if len(did) > 0 || slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, cause) }) {
		t.Errorf("did %v, %v", did, errs)
	}
}
