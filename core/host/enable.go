package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/godbus/dbus/v5"
)

// UnitEnabled reports whether a unit is enabled. One that this host does not
// know is not.
func (b *Bus) UnitEnabled(ctx context.Context, unit string) (bool, error) {
	var state string
	o := b.conn.Object(systemd1, "/org/freedesktop/systemd1")
	err := o.CallWithContext(ctx, systemd1+".Manager.GetUnitFileState", 0, unit).Store(&state)
	if unknownUnit(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("is %s enabled: %w", unit, err)
	}
	return state == "enabled", nil
}

func unknownUnit(err error) bool {
	var e dbus.Error
	return errors.As(err, &e) && (e.Name == "org.freedesktop.DBus.Error.FileNotFound" || e.Name == systemd1+".NoSuchUnit")
}

// EnableUnits has this host start units when it boots.
func (b *Bus) EnableUnits(ctx context.Context, units ...string) error {
	o := b.conn.Object(systemd1, "/org/freedesktop/systemd1")
	const lasting, force = false, false // not for this boot only, and over nothing else
	if err := o.CallWithContext(ctx, systemd1+".Manager.EnableUnitFiles", 0, units, lasting, force).Err; err != nil {
		return fmt.Errorf("enabling %s: %w", strings.Join(units, " and "), err)
	}
	return b.ReloadUnits(ctx)
}

// DisableUnit takes back what EnableUnits did for a unit.
func (b *Bus) DisableUnit(ctx context.Context, unit string) error {
	o := b.conn.Object(systemd1, "/org/freedesktop/systemd1")
	if err := o.CallWithContext(ctx, systemd1+".Manager.DisableUnitFiles", 0, []string{unit}, false).Err; err != nil {
		return fmt.Errorf("disabling %s: %w", unit, err)
	}
	return b.ReloadUnits(ctx)
}

// Wants reports whether this host's administrator has anything enabled that a
// target pulls in.
func Wants(target string) (bool, error) {
	entries, err := os.ReadDir("/etc/systemd/system/" + target + ".wants")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}
