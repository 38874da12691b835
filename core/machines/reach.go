package machines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/hostlink"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

const networkdUnit = "systemd-networkd.service"

// reachable settles what configures the host's end of a new machine's link, and
// finds what of this host is in the way of the ports and the name that it is to
// have.
func (h *House) reachable(ctx context.Context, rec *store.Record) (*store.Record, error) {
	m := rec.Machine()
	if m.Spec.Network.Private {
		return rec, nil
	}
	var err error
	if m.HostNetwork, err = h.hostNetwork(ctx, m); err != nil {
		return nil, err
	}
	return h.Store.NewRecord(m), h.clearOfHost(ctx, m, m.Spec.Network.Publish, m.Spec.Network.Alias)
}

// reachableStill does the same for a machine whose spec is changed from that of
// before: what it has already is not in its own way.
func (h *House) reachableStill(ctx context.Context, before spec.Network, m *store.Machine) error {
	n := m.Spec.Network
	if n.Private {
		return nil
	}
	if n.Host != before.Host {
		var err error
		if m.HostNetwork, err = h.hostNetwork(ctx, *m); err != nil {
			return err
		}
	}
	all, err := h.Store.List()
	if err == nil {
		err = publishedByOthers(m, all)
	}
	if err != nil {
		return err
	}
	added := slices.DeleteFunc(slices.Clone(n.Publish), func(p spec.Publish) bool { return slices.ContainsFunc(before.Publish, p.Same) })
	return h.clearOfHost(ctx, *m, added, n.Alias && !before.Alias)
}

// clearOfHost finds what of this host is in the way of ports, and of the plain
// name.
func (h *House) clearOfHost(ctx context.Context, m store.Machine, ports []spec.Publish, alias bool) error {
	var taken *hostlink.TakenError
	if err := hostlink.Free(ctx, ports); errors.As(err, &taken) {
		return spec.Invalid{{Field: "network.publish", Value: taken.Publish.String(), Problem: taken.Problem, Hint: taken.Hint}}
	} else if err != nil {
		return err
	}
	if alias {
		if err := aliasFree(m.Name); err != nil {
			return err
		}
	}
	if m.Driver == spec.DriverSystemd && stages.LinkNeeded(m) {
		return programTrusted()
	}
	return nil
}

// hostNetwork turns auto into what this host has, and says so where that is not
// what most hosts have.
func (h *House) hostNetwork(ctx context.Context, m store.Machine) (spec.HostNetwork, error) {
	switch {
	case m.Driver != spec.DriverSystemd:
		return spec.HostNetworkBuiltin, nil
	case m.Spec.Network.Host != spec.HostNetworkAuto:
		return m.Spec.Network.Host, nil
	}
	runs, err := networkdRuns(ctx)
	if err != nil || runs {
		return spec.HostNetworkNetworkd, err
	}
	h.Tell(pipeline.Event{
		Stage: stages.NameNetwork, Kind: pipeline.Warning,
		Text: networkdUnit + " does not run on this host: nspawn-build itself configures the link, and does not start it",
	})
	return spec.HostNetworkBuiltin, nil
}

func networkdRuns(ctx context.Context) (runs bool, err error) {
	bus, err := host.Connect(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	return bus.UnitActive(ctx, networkdUnit)
}

// reloadRunningNetwork tells networkd of a link that is none of its business.
// Where it does not run, or cannot be spoken to, nobody has to be told.
func reloadRunningNetwork(ctx context.Context) error {
	bus, err := host.Connect(ctx)
	if err != nil {
		return nil //nolint:nilerr // a host without a bus
	}
	return errors.Join(bus.ReloadRunningNetwork(ctx), bus.Close())
}

func aliasFree(name string) error {
	self, err := os.Hostname()
	if err != nil {
		return err
	}
	err = hostfile.Hosts{Path: stages.HostsPath}.Check(name, self)
	var refused *hostfile.EntryError
	if errors.As(err, &refused) {
		return spec.Invalid{{Field: "network.alias", Value: name, Problem: refused.Problem, Hint: refused.Hint}}
	}
	if err != nil {
		return &HostError{err.Error(), "ssh " + name + ".nspawn works without"}
	}
	return nil
}

// publishedByOthers refuses a port of the host that another machine has, be it
// running or not.
func publishedByOthers(m *store.Machine, all []store.Machine) error {
	for _, p := range m.Spec.Network.Publish {
		for _, o := range all {
			if o.Name != m.Name && slices.ContainsFunc(o.Spec.Network.Publish, p.Same) {
				return spec.Invalid{{
					Field: "network.publish", Value: p.String(), Problem: "takes a port of this host that machine " + o.Name + " is published under",
					Hint: "publish under another port, or destroy " + o.Name,
				}}
			}
		}
	}
	return nil
}

// programTrusted makes sure that nobody but root can change what systemd is to
// run as root at every start of the machine.
func programTrusted() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	err = pluginhost.CheckProgram(self)
	var refused *pluginhost.RefusedError
	if errors.As(err, &refused) {
		return &HostError{
			fmt.Sprintf("systemd is to run %s with the machine, and others could change it: %s", self, refused.Reason),
			"install it where only root can write: make install, or make the machine without --publish, --egress and --host-network builtin",
		}
	}
	return err
}

// assembleNetwork gives the stage what it needs of the host's services.
func (h *House) assembleNetwork(n *stages.Network, m store.Machine) {
	n.Unmanaged = m.Builtin() && h.Host.Systemd
	switch {
	case !h.Host.Systemd:
		return
	case m.Builtin():
		n.Reload = reloadRunningNetwork
	default:
		n.Reload = h.onBus(spec.DriverSystemd, (*host.Bus).ReloadNetwork)
	}
	if m.Driver != spec.DriverSystemd || !stages.LinkNeeded(m) {
		return
	}
	self, err := os.Executable()
	if err != nil {
		self = "" // said when the file is rendered
	}
	n.Link = &stages.LinkUnit{Program: self, Reload: h.onBus(spec.DriverSystemd, (*host.Bus).ReloadUnits)}
}

// KeepLink does what this host does for a machine's link until ctx ends. It
// calls ready when the machine may start.
func (h *House) KeepLink(ctx context.Context, name string, warn func(string), ready func() error) (err error) {
	m, err := h.Store.Load(name)
	if err != nil {
		return err
	}
	c := hostlink.Config{RuntimeDir: RuntimeDir, Warn: warn, WhileNeeded: true}
	mark := unitfile.LinkReady(name)
	if err := unmark(mark); err != nil { // of a run that was killed
		return err
	}
	k, err := hostlink.Open(ctx, c, stages.HostLink(m))
	if err != nil {
		return &HostError{err.Error(), "the machine does not start without"}
	}
	defer func() {
		err = errors.Join(err, unmark(mark), hostlink.Remove(context.WithoutCancel(ctx), c, name))
	}()
	if err := errors.Join(os.MkdirAll(filepath.Dir(mark), 0o700), os.WriteFile(mark, nil, 0o600)); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	k.Keep(ctx)
	k.Close()
	return nil
}

// unmark takes back that a link is ready, and the directories that were for
// such marks alone.
func unmark(mark string) error {
	if err := os.Remove(mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = os.Remove(filepath.Dir(mark)) // not empty: other machines run
	return nil
}
