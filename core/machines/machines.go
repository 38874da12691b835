// Package machines is what can be done with the machines of this host: make
// them, look at them, start, stop and destroy them. It puts the stages
// together with the host, the store, the plugins and a driver; it does nothing
// itself that a stage or a driver could do, and prints nothing.
package machines

import (
	"context"
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/addr"
	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// Paths on the host.
const (
	StateDir   = "/var/lib/nspawn-build"
	RuntimeDir = "/run/nspawn-build"
	CacheDir   = "/var/cache/nspawn-build"
	LogDir     = "/var/log/nspawn-build"
	KnownHosts = unitfile.KnownHostsPath
)

// House is the machines of this host and all that is needed to work on them.
type House struct {
	Host    host.Host
	Store   *store.Store
	Files   *hostfile.Files
	Plugins *pluginhost.Host
	Pool    addr.Pool
	// Drivers gives the driver of a kind other than auto.
	Drivers map[spec.Driver]driver.Driver
	Tell    pipeline.Observer
	// Turn bounds how many bootstraps run at once; nil when only one is made.
	Turn pipeline.Turn
}

// HostError says that the host lacks something, and what to do about it.
type HostError struct {
	Problem string
	Hint    string
}

func (e *HostError) Error() string { return e.Problem }

// ExistsError says that a machine is there already and is not what was asked
// for.
type ExistsError struct {
	Name        string
	Differences []spec.Difference
	// Half says that making it was interrupted.
	Half bool
}

func (e *ExistsError) Error() string {
	if e.Half {
		return fmt.Sprintf("machine %s is half made and was asked for differently", e.Name)
	}
	return fmt.Sprintf("machine %s exists and is not what was asked for", e.Name)
}

// driverOf gives the driver that boots m.
func (h *House) driverOf(kind spec.Driver) (driver.Driver, error) {
	d, ok := h.Drivers[kind]
	if !ok {
		return nil, fmt.Errorf("no driver %q", kind)
	}
	if kind == spec.DriverSystemd && !h.Host.Systemd {
		return nil, &HostError{
			"the machine is booted by systemd, which is not PID 1 on this host",
			"boot the host with systemd, or make the machine again with --driver direct",
		}
	}
	return d, nil
}

// choose turns auto into the driver that this host can use.
func (h *House) choose(kind spec.Driver) spec.Driver {
	switch {
	case kind != spec.DriverAuto:
		return kind
	case h.Host.Systemd:
		return spec.DriverSystemd
	}
	return spec.DriverDirect
}

// exclusive runs f under the lock of everything that machines share.
func (h *House) exclusive(ctx context.Context, f func() error) error {
	lock, err := h.Store.LockAllocation(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(), lock.Release())
}

// withMachine runs f with the lock and the record of a machine.
func (h *House) withMachine(name string, f func(*store.Record) error) (err error) {
	lock, err := h.Store.Lock(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	rec, err := h.Store.Open(name)
	if err != nil {
		return err
	}
	return f(rec)
}

// bootMachine is what a driver is told of a machine.
func bootMachine(m store.Machine) driver.Machine {
	return driver.Machine{
		Name: m.Name, Tree: m.Tree.Path, Interface: m.Interface, HostSide: m.HostSide, Limits: m.Spec.Limits,
		Address: m.Address, DNS: m.DNS, Publish: m.Spec.Network.Publish, Egress: m.Spec.Network.Egress,
	}
}

// onBus wraps one call to a service of the host; nil where there is none.
func (h *House) onBus(kind spec.Driver, call func(*host.Bus, context.Context) error) func(context.Context) error {
	if kind != spec.DriverSystemd {
		return nil
	}
	return func(ctx context.Context) (err error) {
		bus, err := host.Connect(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, bus.Close()) }()
		return call(bus, ctx)
	}
}

// assemble puts the stages of a machine together. What only making it needs is
// in making, which is nil on the way out.
func (h *House) assemble(rec *store.Record, making *making) (stages.All, error) {
	m := rec.Machine()
	d, err := h.driverOf(m.Driver)
	if err != nil {
		return stages.All{}, err
	}
	all := stages.All{
		Bootstrap: &stages.Bootstrap{
			Record: rec, Files: h.Files, Exclusive: h.exclusive, Tell: h.Tell,
		},
		Customize: &stages.Customize{Record: rec, LogDir: LogDir, Runtime: RuntimeDir, Tell: h.Tell, Going: making == nil},
		Password:  &stages.Password{Record: rec},
		Services:  &stages.Services{Record: rec},
		Network: &stages.Network{
			Record: rec, Files: h.Files, Exclusive: h.exclusive, SystemdVersion: h.Host.SystemdVersion,
			Machines:       h.Store.List,
			ReloadResolver: h.onBus(m.Driver, (*host.Bus).ReloadResolver),
		},
		Settings: &stages.Settings{
			Record: rec, Files: h.Files, Exclusive: h.exclusive, SystemdVersion: h.Host.SystemdVersion,
			Machines: h.Store.List, Reload: h.onBus(m.Driver, (*host.Bus).ReloadUnits), Tell: h.Tell,
		},
		Limits: &stages.Limits{
			Record: rec, Files: h.Files, Exclusive: h.exclusive, Reload: h.onBus(m.Driver, (*host.Bus).ReloadUnits),
			Driver: d, Machine: bootMachine, Control: making == nil, Tell: h.Tell,
		},
		Boot:   &stages.Boot{Record: rec, Driver: d, Machine: bootMachine, Tell: h.Tell},
		Enable: &stages.Enable{Record: rec, Files: h.Files, Exclusive: h.exclusive, Units: h.unitFiles(m.Driver)},
	}
	all.Boot.Ready = all.Settings.Ready
	h.assembleNetwork(all.Network, m)
	if making == nil {
		return all, nil
	}
	all.Bootstrap.Origin = making.origin
	all.Password.Secret = making.secret
	all.Boot.Secret = making.secret
	all.Boot.Timeout = making.run.Timeout
	if !making.run.Boot {
		all.Boot = nil
	}
	return all, nil
}

// decorate adds events and, unless nothing may be written, the journal.
func (h *House) decorate(order []pipeline.Stage, journal pipeline.Journal) []pipeline.Stage {
	out := make([]pipeline.Stage, len(order))
	for i, s := range order {
		// That a stage is said to have started is on record before it is said.
		out[i] = pipeline.Observed(s, h.Tell)
		if journal != nil {
			out[i] = pipeline.Journaled(out[i], journal)
		}
		if h.Turn != nil && s.Name() == stages.NameBootstrap {
			out[i] = pipeline.Bounded(out[i], h.Turn)
		}
	}
	return out
}
