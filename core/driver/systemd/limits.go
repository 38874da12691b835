package systemd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Unenforced names the limits whose controller the service manager lacks.
func (Driver) Unenforced(m driver.Machine) []string {
	host, err := cgroup.Find()
	if err != nil {
		host = cgroup.Host{}
	}
	return host.Unenforced(m.Limits, m.Tree)
}

// Limit has the service manager apply the limits that it has read, which are
// not ours to write, and returns those of the unit that are not those of m.
//
// Having read its units again it knows the limits of one that runs, and not
// each version of it writes them to the kernel then: 257 waits until something
// else has to do with the unit's cgroup. Setting properties does; the only
// property that leaves no file behind is Markers, and an empty list of changes
// to it changes nothing.
func (d Driver) Limit(ctx context.Context, m driver.Machine) (refused []string, err error) {
	u, b, err := d.look(ctx, m)
	if err != nil || u.group == "" {
		return b.NotHeld(), err
	}
	nudge, cancel := bounded(ctx)
	defer cancel()
	err = persist(nudge, func(b *bus) error {
		none := sddbus.Property{Name: "Markers", Value: dbus.MakeVariant([]string{})}
		return b.units.SetUnitPropertiesContext(nudge, Unit(m.Name), true, none)
	})
	if err != nil && !unknownProperty(err) {
		return nil, fmt.Errorf("applying the limits of %s: %w", Unit(m.Name), err)
	}
	b, err = d.Limits(ctx, m)
	return b.NotHeld(), err
}

// unknownProperty is how a service manager older than Markers, of systemd 248,
// refuses it.
func unknownProperty(err error) bool {
	return dbusName(err) == "org.freedesktop.DBus.Error.PropertyReadOnly"
}

// Limits asks the service manager what the unit's limits are, and the kernel
// what it made of them.
func (d Driver) Limits(ctx context.Context, m driver.Machine) (driver.Bounds, error) {
	_, b, err := d.look(ctx, m)
	return b, err
}

func (Driver) look(ctx context.Context, m driver.Machine) (u unit, b driver.Bounds, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	err = persist(ctx, func(b *bus) (err error) {
		u, err = b.limits(ctx, m)
		return err
	})
	if err != nil {
		return u, b, fmt.Errorf("asking for the limits of %s: %w", Unit(m.Name), err)
	}
	host, err := cgroup.Find()
	if err != nil {
		return u, b, err
	}
	if u.group != "" {
		g := host.Group(strings.TrimPrefix(u.group, "/"))
		b.Kernel = g.Limits(m.Tree)
		b.Memory, b.Tasks = g.Usage()
	}
	u.compare(m.Limits, &b)
	return u, b, nil
}

// unit is what the service manager says of a machine's unit.
type unit struct {
	limits spec.Limits // Infinity where the unit has none
	group  string      // its cgroup, below the hierarchy's root; empty unless it runs
	stale  bool        // its files were changed since they were read
	files  []string    // its drop-ins, the one that has the last word last
}

func (b *bus) limits(ctx context.Context, m driver.Machine) (unit, error) {
	name := Unit(m.Name)
	general, err := b.units.GetUnitPropertiesContext(ctx, name)
	if err != nil {
		return unit{}, err
	}
	service, err := b.units.GetUnitTypePropertiesContext(ctx, name, "Service")
	if err != nil {
		return unit{}, err
	}
	var u unit
	u.stale, _ = general["NeedDaemonReload"].(bool)
	u.files, _ = general["DropInPaths"].([]string)
	u.group, _ = service["ControlGroup"].(string)
	u.limits = parseLimits(service, m.Tree)
	return u, nil
}

// parseLimits reads properties of a service. It takes a limit that is not
// among them, as on a systemd that does not know it, for one that is not set.
func parseLimits(p map[string]any, tree string) spec.Limits {
	number := func(name string) uint64 {
		if v, ok := p[name].(uint64); ok {
			return v
		}
		return spec.Infinity
	}
	l := spec.Limits{
		CPUQuota:  number("CPUQuotaPerSecUSec"),
		MemoryMax: number("MemoryMax"), MemoryHigh: number("MemoryHigh"),
		IOWeight: number("IOWeight"), TasksMax: number("TasksMax"),
		IOBandwidth: max(perDisk(p["IOReadBandwidthMax"], tree), perDisk(p["IOWriteBandwidthMax"], tree)),
	}
	if l.CPUQuota != spec.Infinity {
		l.CPUQuota /= 10_000 // microseconds of a second, to percent
	}
	return l
}

// perDisk finds the value of the tree's disk in a property of the type a(st),
// a path on the disk or its device, and a bandwidth.
func perDisk(property any, tree string) uint64 {
	all, ok := property.([][]any)
	if !ok {
		return spec.Infinity
	}
	for _, one := range slices.Backward(all) {
		if len(one) != 2 {
			continue
		}
		path, isPath := one[0].(string)
		v, isValue := one[1].(uint64)
		if isPath && isValue && (path == tree || cgroup.SameDisk(path, tree)) {
			return v
		}
	}
	return spec.Infinity
}

// directives are the limits by the names of their flags as a unit's file has
// them.
var directives = map[string][]string{
	"cpu-quota": {"CPUQuota"}, "memory-max": {"MemoryMax"}, "memory-high": {"MemoryHigh"},
	"io-bandwidth": {"IOReadBandwidthMax", "IOWriteBandwidthMax"}, "io-weight": {"IOWeight"}, "tasks-max": {"TasksMax"},
}

// compare says where the unit's limits are not those that are wanted, and the
// kernel's not the unit's.
func (u unit) compare(wanted spec.Limits, b *driver.Bounds) {
	if u.stale {
		b.Pending = append(b.Pending, "the service manager has not read the unit's files since they were changed")
		return
	}
	for _, name := range spec.LimitNames() {
		want, has := wanted.Get(name), u.limits.Get(name)
		file := ""
		if want != has {
			file = elsewhere(u.files, directives[name], want != 0)
		}
		if name == "io-weight" && has == spec.Infinity {
			has = cgroup.UsualWeight
		}
		switch {
		case file != "":
			b.Outranked = append(b.Outranked, driver.Outranked{
				Limit: name, Value: u.limits.Show(name), File: file, Directives: directives[name], Wanted: want != 0,
			})
		case want != 0 && want != has:
			b.Pending = append(b.Pending, fmt.Sprintf("limits.%s: the service manager has %s", name, u.limits.Show(name)))
		case cgroup.Differs(name, b.Kernel.Get(name), has):
			b.Pending = append(b.Pending, fmt.Sprintf("limits.%s: the kernel has %s", name, b.Kernel.Show(name)))
		}
	}
}

// ourDropIn is the name of the file that has the limits of the record.
const ourDropIn = "50-nspawn-build.conf"

// elsewhere finds the last of a unit's own drop-ins, beside ours, that sets one
// of some directives: where outranking is asked for, only of those that come after ours,
// by the order of their names in whatever directory. Drop-ins of all machines
// are the host's default.
func elsewhere(files, directives []string, outranking bool) string {
	for _, file := range slices.Backward(files) {
		base := filepath.Base(file)
		ofAll := !strings.HasSuffix(filepath.Dir(file), ".service.d") || strings.HasSuffix(filepath.Dir(file), "@.service.d")
		if base == ourDropIn || ofAll || outranking && base < ourDropIn {
			continue
		}
		if sets(file, directives) {
			return file
		}
	}
	return ""
}

// sets tells whether a unit's file has one of the directives.
func sets(file string, directives []string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false // removed since
	}
	for line := range strings.Lines(string(text)) {
		if key, _, ok := strings.Cut(line, "="); ok && slices.Contains(directives, strings.TrimSpace(key)) {
			return true
		}
	}
	return false
}
