package doctor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/driver/systemd"
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// controlDirs are where systemctl set-property writes, which goes before our
// drop-in.
var controlDirs = []string{"/etc/systemd/system.control", "/run/systemd/system.control"}

// limits compares the limits on record with those that the service manager
// has.
func (p *patient) limits(ctx context.Context) []Finding {
	const id = "machine.limits"
	var found []Finding
	for _, reason := range p.House.Unenforced(p.m) {
		found = append(found, warning(id, "not enforced on this host: "+reason, "the machine may use more than it was meant to", ""))
	}
	if p.m.Driver != spec.DriverSystemd || p.bus == nil || p.m.Spec.Limits == (spec.Limits{}) {
		return found
	}
	wrong, err := p.differing(ctx)
	if err != nil {
		return append(found, untold(id, err))
	}
	if len(wrong) == 0 {
		return append(found, ok(id, "the service manager has its limits"))
	}
	f := broken(Boot, id, "the service manager has other limits: "+strings.Join(wrong, ", "), "the machine is not bounded as it was asked for", "")
	for _, dir := range controlDirs {
		path := filepath.Join(dir, systemd.Unit(p.m.Name)+".d")
		if _, err := os.Stat(path); err == nil { // somebody asked for that by systemctl
			f.Fix = "rm -r " + quote(path) + " && systemctl daemon-reload"
			return append(found, f)
		}
	}
	return append(found, f.fixable(func(ctx context.Context) error {
		return errors.Join(p.restore(ctx), reloadUnits(ctx))
	}))
}

func reloadUnits(ctx context.Context) (err error) {
	bus, err := host.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	return bus.ReloadUnits(ctx)
}

// differing names the properties that are not what was asked for.
func (p *patient) differing(ctx context.Context) ([]string, error) {
	l := p.m.Spec.Limits
	var wrong []string
	for _, c := range []struct {
		property string
		want     uint64
	}{
		{"CPUQuotaPerSecUSec", quotaMicroseconds(l.CPUQuota)},
		{"MemoryMax", l.MemoryMax},
		{"MemoryHigh", l.MemoryHigh},
		{"IOWeight", l.IOWeight},
		{"TasksMax", l.TasksMax},
	} {
		if c.want == 0 {
			continue
		}
		v, err := p.bus.UnitProperty(ctx, systemd.Unit(p.m.Name), "Service", c.property)
		if err != nil {
			return nil, err
		}
		if have, ok := v.(uint64); ok && have != c.want {
			wrong = append(wrong, fmt.Sprintf("%s is %s instead of %s", c.property, number(have), number(c.want)))
		}
	}
	return wrong, nil
}

// quotaMicroseconds is how the service manager counts a share of a CPU.
func quotaMicroseconds(percent uint64) uint64 {
	const second = 1_000_000
	if percent == spec.Infinity || percent > math.MaxUint64/second {
		return spec.Infinity
	}
	return percent * second / 100
}

func number(v uint64) string {
	if v == spec.Infinity {
		return "infinity"
	}
	return fmt.Sprint(v)
}
