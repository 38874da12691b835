package direct

import (
	"context"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// SetLimits changes the limits of a running machine; those of l that are not
// set stay as they are. It returns the limits that do not hold, each with the
// reason.
func (d *Driver) SetLimits(ctx context.Context, name string, l spec.Limits) (unenforced []string, err error) {
	status, err := d.Status(ctx, name)
	if err != nil {
		return nil, err
	}
	if status.State != driver.Running {
		return nil, fmt.Errorf("setting the limits of %s: it does not run", name)
	}
	g, err := group(name)
	if err != nil {
		return nil, err
	}
	return append(d.Unenforced(l), g.Limit(l)...), nil
}

// Limits reads back from the kernel what bounds a running machine: Infinity
// where nothing does, 0 where that cannot be known.
func (d *Driver) Limits(name string) (spec.Limits, error) {
	if _, err := d.files(name); err != nil {
		return spec.Limits{}, err
	}
	g, err := group(name)
	if err != nil {
		return spec.Limits{}, err
	}
	return g.Limits(), nil
}
