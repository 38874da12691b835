package direct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Limit writes the limits of a machine that has a supervisor to the machine's
// cgroup, and to its description, from which the supervisor takes them when
// the machine reboots.
func (d *Driver) Limit(_ context.Context, m driver.Machine) (refused []string, err error) {
	f, err := d.files(m.Name)
	if err != nil {
		return nil, err
	}
	if _, running, err := f.supervised(); err != nil || !running {
		return nil, err
	}
	// The description first: a boot that read it before looks again after it
	// has bounded the group.
	err = f.describe(m.Limits)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it has just powered off
	}
	if err != nil {
		return nil, fmt.Errorf("setting the limits of %s: %w", m.Name, err)
	}
	g, err := group(m.Name)
	if err != nil || !g.Exists() {
		return nil, err
	}
	return g.Limit(m.Limits, m.Tree), nil
}

// Describe changes what a machine that has a supervisor is booted with the next
// time, be it that it reboots itself.
func (d *Driver) Describe(m driver.Machine) error {
	f, err := d.files(m.Name)
	if err != nil {
		return err
	}
	if _, running, err := f.supervised(); err != nil || !running {
		return err
	}
	if _, err := os.Stat(f.description()); errors.Is(err, fs.ErrNotExist) {
		return nil // it has just powered off
	}
	return writeJSON(f.description(), m)
}

// describe changes the limits in the machine's description, and nothing else:
// the rest is what it was booted with.
func (f files) describe(l spec.Limits) error {
	var m driver.Machine
	if err := readJSON(f.description(), &m); err != nil {
		return err
	}
	if m.Limits == l {
		return nil
	}
	m.Limits = l
	return writeJSON(f.description(), m)
}

// described are the limits in the machine's description.
func (f files) described(otherwise spec.Limits) spec.Limits {
	var m driver.Machine
	if err := readJSON(f.description(), &m); err != nil {
		return otherwise
	}
	return m.Limits
}

// limit bounds the machine's new cgroup as its description says, which may be
// changed meanwhile.
func (s *supervisor) limit() (refused []string) {
	for {
		s.machine.Limits = s.described(s.machine.Limits)
		refused = s.group.Limit(s.machine.Limits, s.machine.Tree)
		if s.described(s.machine.Limits) == s.machine.Limits {
			return refused
		}
	}
}

// Limits reads back from the kernel what bounds a running machine.
func (d *Driver) Limits(_ context.Context, m driver.Machine) (driver.Bounds, error) {
	f, err := d.files(m.Name)
	if err != nil {
		return driver.Bounds{}, err
	}
	if s, running, err := f.supervised(); err != nil || !running || s.Leader == 0 {
		return driver.Bounds{}, err
	}
	host, err := cgroup.Find()
	if err != nil {
		return driver.Bounds{}, err
	}
	g := host.Group(groupName(m.Name))
	b := driver.Bounds{Kernel: g.Limits(m.Tree)}
	b.Memory, b.Tasks = g.Usage()
	described := f.described(m.Limits)
	for _, name := range spec.LimitNames() {
		wanted := m.Limits.Get(name)
		if described.Get(name) != wanted {
			b.Pending = append(b.Pending, "limits."+name+": the machine was booted with another")
			continue
		}
		switch {
		case wanted == 0 && name == "io-weight":
			wanted = cgroup.UsualWeight
		case wanted == 0:
			wanted = spec.Infinity
		}
		if !host.Hybrid && cgroup.Differs(name, b.Kernel.Get(name), wanted) {
			b.Pending = append(b.Pending, fmt.Sprintf("limits.%s: the kernel has %s", name, b.Kernel.Show(name)))
		}
	}
	return b, nil
}
