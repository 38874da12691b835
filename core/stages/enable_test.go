package stages

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// units stand in for the service manager: what is enabled.
type units struct {
	on    []string
	calls []string
}

func (u *units) Enabled(_ context.Context, unit string) (bool, error) {
	return slices.Contains(u.on, unit), nil
}

func (u *units) Enable(_ context.Context, names ...string) error {
	u.calls = append(u.calls, "enable "+strings.Join(names, " "))
	for _, n := range names {
		if !slices.Contains(u.on, n) {
			u.on = append(u.on, n)
		}
	}
	return nil
}

func (u *units) Disable(_ context.Context, unit string) error {
	u.calls = append(u.calls, "disable "+unit)
	u.on = slices.DeleteFunc(u.on, func(n string) bool { return n == unit })
	return nil
}

func (u *units) Wants(target string) (bool, error) {
	return slices.ContainsFunc(u.on, func(n string) bool { return n != target }), nil
}

// enabling are the stages of a machine for each name, on one host.
func enabling(t *testing.T, u *units, names ...string) []*Enable {
	t.Helper()
	b := newBench(t)
	var all []*Enable
	for _, name := range names {
		rec := b.store.NewRecord(store.Machine{Name: name, Spec: spec.Spec{Enable: true}})
		all = append(all, &Enable{Record: rec, Files: b.files, Exclusive: b.exclusive, Units: u})
	}
	return all
}

func TestTheTargetGoesWithTheLastMachineItWasEnabledFor(t *testing.T) {
	u := &units{}
	all := enabling(t, u, "one", "two")
	for _, e := range all {
		mustSettle(t, e)
	}
	for i, left := range []string{"machines.target systemd-nspawn@two.service", ""} {
		for range 2 { // the second time there is nothing to do
			if err := all[i].Undo(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(u.on)
		if got := strings.Join(u.on, " "); got != left {
			t.Errorf("after %d of two went, %q is enabled, want %q", i+1, got, left)
		}
	}
	if noted, err := all[0].Files.Noted(targetLink); err != nil || noted {
		t.Errorf("that the target was enabled is still noted: %v, %v", noted, err)
	}
}

func TestATargetThatWasEnabledBeforeStaysSo(t *testing.T) {
	u := &units{on: []string{targetMachines}}
	e := enabling(t, u, "one")[0]
	mustSettle(t, e)
	if err := e.Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(u.on, []string{targetMachines}) {
		t.Errorf("enabled is %v", u.on)
	}
}

func TestMachinesAreNotEnabledUnasked(t *testing.T) {
	u := &units{}
	e := enabling(t, u, "one")[0]
	if err := e.Record.Update(func(m *store.Machine) { m.Spec.Enable = false }); err != nil {
		t.Fatal(err)
	}
	if changes, err := e.Check(t.Context()); err != nil || len(changes) > 0 {
		t.Errorf("Check: %v, %v", changes, err)
	}
	if err := e.Undo(t.Context()); err != nil || len(u.calls) > 0 {
		t.Errorf("Undo: %v, %v", u.calls, err)
	}
	without := &Enable{Record: e.Record}
	if err := without.Undo(t.Context()); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
}
