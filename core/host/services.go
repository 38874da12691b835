package host

import (
	"context"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

// UnitProperty reads one property of a unit. kind is "Unit", "Service" and so
// on, the interface that has it.
func (b *Bus) UnitProperty(ctx context.Context, unit, kind, property string) (any, error) {
	var path dbus.ObjectPath
	o := b.conn.Object(systemd1, "/org/freedesktop/systemd1")
	if err := o.CallWithContext(ctx, systemd1+".Manager.LoadUnit", 0, unit).Store(&path); err != nil {
		return nil, fmt.Errorf("unit %s: %w", unit, err)
	}
	var v dbus.Variant
	p := b.conn.Object(systemd1, path)
	if err := p.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemd1+"."+kind, property).Store(&v); err != nil {
		return nil, fmt.Errorf("unit %s: %w", unit, err)
	}
	return v.Value(), nil
}

// StopUnit stops a unit, and returns when it has ended.
func (b *Bus) StopUnit(ctx context.Context, unit string) error {
	o := b.conn.Object(systemd1, "/org/freedesktop/systemd1")
	if err := o.CallWithContext(ctx, systemd1+".Manager.StopUnit", 0, unit, "replace").Err; err != nil {
		return fmt.Errorf("stopping %s: %w", unit, err)
	}
	for {
		state, err := b.UnitProperty(ctx, unit, "Unit", "ActiveState")
		if err != nil || state == "inactive" || state == "failed" {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("stopping %s: %w", unit, context.Cause(ctx))
		}
	}
}

// StartUnit starts a unit and waits until it is up.
func (b *Bus) StartUnit(ctx context.Context, unit string) error {
	o := b.conn.Object(systemd1, "/org/freedesktop/systemd1")
	if err := o.CallWithContext(ctx, systemd1+".Manager.StartUnit", 0, unit, "replace").Err; err != nil {
		return fmt.Errorf("starting %s: %w", unit, err)
	}
	for {
		state, err := b.UnitProperty(ctx, unit, "Unit", "ActiveState")
		switch {
		case err != nil:
			return err
		case state == "active":
			return nil
		case state == "failed":
			return fmt.Errorf("starting %s: it failed; journalctl -u %s says why", unit, unit)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", unit, context.Cause(ctx))
		}
	}
}

// ReconfigureLink makes networkd set a link up anew by the file that it finds
// for it now.
func (b *Bus) ReconfigureLink(ctx context.Context, index int) error {
	o := b.conn.Object(network1, "/org/freedesktop/network1")
	if err := o.CallWithContext(ctx, network1+".Manager.ReconfigureLink", dbus.FlagNoAutoStart, int32(index)).Err; err != nil {
		return fmt.Errorf("networkctl reconfigure: %w", err)
	}
	return nil
}

// KnownMachines are the names of the machines that machined knows, whoever
// started them.
func (b *Bus) KnownMachines(ctx context.Context) ([]string, error) {
	var all []struct {
		Name, Class, Service string
		Path                 dbus.ObjectPath
	}
	o := b.conn.Object("org.freedesktop.machine1", "/org/freedesktop/machine1")
	if err := o.CallWithContext(ctx, "org.freedesktop.machine1.Manager.ListMachines", 0).Store(&all); err != nil {
		return nil, fmt.Errorf("asking machined: %w", err)
	}
	var names []string
	for _, m := range all {
		names = append(names, m.Name)
	}
	return names, nil
}
