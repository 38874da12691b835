package systemd

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

func TestUnitUsesTheNameAsItIs(t *testing.T) {
	// The template passes on %i, the instance as written: escaping it would
	// boot a machine of another name.
	for name, want := range map[string]string{
		"box":      "systemd-nspawn@box.service",
		"my-box.1": "systemd-nspawn@my-box.1.service",
	} {
		if got := Unit(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestOnlyBrokenConnectionsAreTriedAgain(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"connection closed", dbus.ErrClosed, true},
		{"wrapped", fmt.Errorf("x: %w", dbus.ErrClosed), true},
		{"no reply", dbus.Error{Name: "org.freedesktop.DBus.Error.NoReply"}, true},
		{"the owner went", fmt.Errorf("x: %w", dbus.Error{Name: "org.freedesktop.DBus.Error.NameHasNoOwner"}), true},
		{"by pointer", &dbus.Error{Name: "org.freedesktop.DBus.Error.Disconnected"}, true},
		{"no such unit", dbus.Error{Name: "org.freedesktop.systemd1.NoSuchUnit"}, false},
		{"denied", dbus.Error{Name: "org.freedesktop.DBus.Error.AccessDenied"}, false},
		{"something else", errors.New("x"), false},
	}
	for _, tt := range tests {
		if got := transient(tt.err); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

func TestMachineOfMachinedIsUnderstood(t *testing.T) {
	tests := []struct {
		name    string
		all     map[string]dbus.Variant
		want    machine
		wantErr bool
	}{
		{
			"a machine", map[string]dbus.Variant{
				"Leader": dbus.MakeVariant(uint32(4711)), "Unit": dbus.MakeVariant("systemd-nspawn@box.service"),
				"Name": dbus.MakeVariant("box"), "NetworkInterfaces": dbus.MakeVariant([]int32{7}),
			}, machine{4711, "systemd-nspawn@box.service", []int{7}}, false,
		},
		{"no leader", map[string]dbus.Variant{"Unit": dbus.MakeVariant("x")}, machine{}, true},
		{"a leader that is no number", map[string]dbus.Variant{"Leader": dbus.MakeVariant("x"), "Unit": dbus.MakeVariant("x")}, machine{}, true},
		{"no unit", map[string]dbus.Variant{"Leader": dbus.MakeVariant(uint32(1))}, machine{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseMachine(tt.all)
			if (err != nil) != tt.wantErr {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(machine{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCallersDeadlineIsKept(t *testing.T) {
	want := time.Now().Add(time.Hour)
	outer, cancel := context.WithDeadline(t.Context(), want)
	defer cancel()
	inner, cancel := bounded(outer)
	defer cancel()
	if got, ok := inner.Deadline(); !ok || !got.Equal(want) {
		t.Errorf("got %v", got)
	}
	inner, cancel = bounded(context.Background())
	defer cancel()
	if got, ok := inner.Deadline(); !ok || time.Until(got) > patience {
		t.Errorf("without a deadline: %v, %v", got, ok)
	}
}
