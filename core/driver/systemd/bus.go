package systemd

import (
	"context"
	"errors"
	"fmt"
	"time"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// patience is how long one question may take when the caller sets no deadline:
// as long as D-Bus itself waits for an answer.
const patience = 25 * time.Second

var errNoMachine = errors.New("no such machine")

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}

// bus is one connection. It ends with the context that it was made with.
type bus struct {
	raw   *dbus.Conn
	units *sddbus.Conn
}

func dial(ctx context.Context) (*bus, error) {
	raw, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("connecting to the system bus: %w", err)
	}
	units, err := sddbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to the service manager: %w", err), raw.Close())
	}
	return &bus{raw: raw, units: units}, nil
}

func (b *bus) close() {
	b.units.Close()
	_ = b.raw.Close() // nothing is under way
}

// persist does f, and again with a new connection as long as it fails because
// machined, the service manager or the bus is being restarted.
func persist(ctx context.Context, f func(*bus) error) error {
	pause := 5 * time.Millisecond
	for {
		err := attempt(ctx, f)
		if err == nil || !transient(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
		pause = min(2*pause, 200*time.Millisecond)
	}
}

func attempt(ctx context.Context, f func(*bus) error) error {
	b, err := dial(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	return f(b)
}

// transient tells whether err is about the connection and not about what was
// asked.
func transient(err error) bool {
	if errors.Is(err, dbus.ErrClosed) {
		return true
	}
	switch dbusName(err) {
	case "org.freedesktop.DBus.Error.NoReply",
		"org.freedesktop.DBus.Error.Disconnected",
		"org.freedesktop.DBus.Error.NameHasNoOwner",
		"org.freedesktop.DBus.Error.Timeout",
		"org.freedesktop.DBus.Error.TimedOut",
		"org.freedesktop.systemd1.ShuttingDown":
		return true
	}
	return false
}

func dbusName(err error) string {
	var e dbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	var p *dbus.Error
	if errors.As(err, &p) {
		return p.Name
	}
	return ""
}

// machine is what machined says of one.
type machine struct {
	leader int
	unit   string
	links  []int // this host's ends of its links, by their index
}

func (b *bus) machine(ctx context.Context, name string) (machine, error) {
	const service, manager = "org.freedesktop.machine1", "org.freedesktop.machine1.Manager"
	var path dbus.ObjectPath
	err := b.raw.Object(service, "/org/freedesktop/machine1").
		CallWithContext(ctx, manager+".GetMachine", 0, name).Store(&path)
	if err == nil {
		var all map[string]dbus.Variant
		err = b.raw.Object(service, path).
			CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, "org.freedesktop.machine1.Machine").Store(&all)
		if err == nil {
			return parseMachine(all)
		}
	}
	switch dbusName(err) {
	case "org.freedesktop.machine1.NoSuchMachine", "org.freedesktop.DBus.Error.UnknownObject":
		return machine{}, errNoMachine
	}
	return machine{}, err
}

func parseMachine(all map[string]dbus.Variant) (machine, error) {
	pid, ok := all["Leader"].Value().(uint32)
	if !ok {
		return machine{}, fmt.Errorf("machined's answer has no leader: %v", all)
	}
	unit, ok := all["Unit"].Value().(string)
	if !ok {
		return machine{}, fmt.Errorf("machined's answer has no unit: %v", all)
	}
	links, _ := all["NetworkInterfaces"].Value().([]int32) // none of a machine without
	m := machine{leader: int(pid), unit: unit}
	for _, l := range links {
		m.links = append(m.links, int(l))
	}
	return m, nil
}

// activeState returns "active", "inactive", "failed" and so on.
func (b *bus) activeState(ctx context.Context, unit string) (string, error) {
	p, err := b.units.GetUnitPropertyContext(ctx, unit, "ActiveState")
	if err != nil {
		return "", err
	}
	state, ok := p.Value.Value().(string)
	if !ok {
		return "", fmt.Errorf("the state of %s is %v", unit, p.Value)
	}
	return state, nil
}

// forgive takes back that the unit failed, and failed too often in a row.
func (b *bus) forgive(ctx context.Context, unit string) error {
	err := b.units.ResetFailedUnitContext(ctx, unit)
	if dbusName(err) == "org.freedesktop.systemd1.NoSuchUnit" {
		return nil // not loaded, so not failed
	}
	return err
}
