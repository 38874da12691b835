package machines

import (
	"context"
	"errors"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// bounding is a driver that remembers which limits it was given, as a kernel.
type bounding struct {
	idle
	held spec.Limits
	fail error
}

func (d *bounding) Limits(_ context.Context, m driver.Machine) (driver.Bounds, error) {
	b := driver.Bounds{Kernel: d.held}
	if d.held != m.Limits {
		b.Pending = []string{"limits.memory-max: the kernel has another"}
	}
	return b, nil
}

func (d *bounding) Limit(_ context.Context, m driver.Machine) ([]string, error) {
	if d.fail == nil {
		d.held = m.Limits
	}
	return nil, d.fail
}

func limitedHouse(t *testing.T, complete bool) (*House, *bounding) {
	t.Helper()
	h, _ := newHouse(t)
	d := &bounding{held: spec.Limits{MemoryMax: 1 << 30}}
	h.Drivers[spec.DriverDirect] = d
	m := store.Machine{Name: "box", Complete: complete, Spec: wanted("box"), Driver: spec.DriverDirect}
	m.Spec.Limits = d.held
	if err := h.Store.Save(m); err != nil {
		t.Fatal(err)
	}
	return h, d
}

func half(l *spec.Limits) { l.MemoryMax = 1 << 29 }

func TestLimitsAreOnRecordAndInForce(t *testing.T) {
	h, d := limitedHouse(t, true)
	out, err := h.SetLimits(t.Context(), "box", half)
	if err != nil || !out.Changed || out.Before.Kernel.MemoryMax != 1<<30 || out.After.Kernel.MemoryMax != 1<<29 {
		t.Fatalf("%+v, %v", out, err)
	}
	if m, err := h.Store.Load("box"); err != nil || m.Spec.Limits.MemoryMax != 1<<29 || d.held != m.Spec.Limits {
		t.Errorf("on record %+v, in force %+v, %v", m.Spec.Limits, d.held, err)
	}
	if out, err := h.SetLimits(t.Context(), "box", half); err != nil || out.Changed {
		t.Errorf("the second time: %+v, %v", out, err)
	}
}

func TestLimitsThatWereCutOffAreAppliedTheNextTime(t *testing.T) {
	h, d := limitedHouse(t, true)
	d.fail = errors.New("cut off")
	if _, err := h.SetLimits(t.Context(), "box", half); !errors.Is(err, d.fail) {
		t.Fatalf("err = %v", err)
	}
	if m, err := h.Store.Load("box"); err != nil || m.Spec.Limits.MemoryMax != 1<<29 || d.held.MemoryMax != 1<<30 {
		t.Fatalf("on record %+v, in force %+v, %v", m.Spec.Limits, d.held, err)
	}
	d.fail = nil
	if out, err := h.SetLimits(t.Context(), "box", half); err != nil || !out.Changed || d.held.MemoryMax != 1<<29 {
		t.Errorf("%+v, in force %+v, %v", out, d.held, err)
	}
}

func TestAHalfMadeMachineHasNoLimitsToChange(t *testing.T) {
	h, d := limitedHouse(t, false)
	if _, err := h.SetLimits(t.Context(), "box", half); !errors.Is(err, ErrIncomplete) {
		t.Errorf("err = %v", err)
	}
	if _, err := h.SetLimits(t.Context(), "none", half); !errors.Is(err, store.ErrNoMachine) {
		t.Errorf("err = %v", err)
	}
	if d.held.MemoryMax != 1<<30 {
		t.Errorf("in force: %+v", d.held)
	}
}
