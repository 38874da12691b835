package stages

import (
	"context"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/addr"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/hostlink"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// LinkUnit has the service manager run this program beside a machine whose link
// needs more than networkd does. The machine does not start without it, in
// whatever way it is started.
type LinkUnit struct {
	Program string // absolute path of this program
	// Reload makes the service manager read its units again.
	Reload func(ctx context.Context) error
}

// LinkNeeded tells whether this host does more for a machine's link than
// networkd.
func LinkNeeded(m store.Machine) bool { return HostLink(m).Needed() }

// HostLink is what this host is to do for a machine's link.
func HostLink(m store.Machine) hostlink.Link {
	return hostlink.Link{
		Machine: m.Name, Interface: m.Interface, HostSide: m.HostSide, Address: m.Address, DNS: m.DNS,
		Publish: m.Spec.Network.Publish, Egress: m.Spec.Network.Egress, Builtin: m.Builtin(),
	}
}

func linkUnitPath(name string) string { return filepath.Join(dirUnits, unitfile.LinkUnit(name)) }

func linkDropInPath(name string) string {
	return filepath.Join(dirUnits, "systemd-nspawn@"+name+".service.d", "51-nspawn-build-network.conf")
}

func (l *LinkUnit) files(m store.Machine, ours hostfile.Ours) ([]hostFile, error) {
	unit, err := unitfile.LinkService{Machine: m.Name, Program: l.Program, Verb: hostlink.Verb}.Render()
	if err != nil {
		return nil, err
	}
	dropIn, err := unitfile.LinkDropIn{Machine: m.Name, Naming: addr.Pin(m.Name, m.Interface)}.Render()
	if err != nil {
		return nil, err
	}
	// The unit first: the machine must not start without it.
	return []hostFile{
		{linkUnitPath(m.Name), unit, "keeps what this host does for the link", ours},
		{linkDropInPath(m.Name), dropIn, "", ours},
	}, nil
}

// hosts is where the machine's plain name goes.
var hosts = hostfile.Hosts{Path: HostsPath}

func (n *Network) checkAlias(changes []pipeline.Change) ([]pipeline.Change, error) {
	m := n.Record.Machine()
	if !m.Spec.Network.Alias {
		return changes, nil
	}
	has, err := hosts.Has(m.Name, m.Address.Addr())
	if err != nil || has {
		return changes, err
	}
	return append(changes, pipeline.Change{Action: "edit", Subject: HostsPath, Detail: "one line: " + m.Address.Addr().String() + " " + m.Name}), nil
}

func (n *Network) addAlias() error {
	m := n.Record.Machine()
	if !m.Spec.Network.Alias {
		return nil
	}
	return hosts.Add(m.Name, m.Address.Addr())
}

// removeAlias takes the line out, also when the wish for it has gone since.
func (n *Network) removeAlias() error { return hosts.Remove(n.Record.Machine().Name) }

// LinkFields are what of a machine's link can change while it is up, by their
// keys in a spec file.
var LinkFields = []string{"network.publish", "network.egress"}
