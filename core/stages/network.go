package stages

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// Network writes both ends of the link: the machine's address, name and
// resolver into the tree, the host's address and what ssh must know of the
// machine onto the host.
type Network struct {
	Record         *store.Record
	Files          *hostfile.Files
	Exclusive      Exclusive
	SystemdVersion int
	// Machines lists every machine on record: those that ssh is told of.
	Machines func() ([]store.Machine, error)
	// Unmanaged has a file keep networkd away from a link that we configure
	// ourselves: on every host with systemd, where networkd may be started
	// at any time.
	Unmanaged bool
	// Reload makes the host's networkd read its files again; nil where
	// networkd does not run.
	Reload func(ctx context.Context) error
	// Link has systemd keep what this host does for the link; nil where that
	// is not its task.
	Link *LinkUnit
	// StopLink ends what systemd kept for the link of a machine that needs it no
	// more, which may run on; nil where systemd keeps nothing.
	StopLink func(ctx context.Context) error
	// ReloadResolver makes the host's resolved read its files again.
	ReloadResolver func(ctx context.Context) error
}

const (
	pathMachineNetwork = "etc/systemd/network/80-container-host0.network"
	pathHostname       = "etc/hostname"
	pathHosts          = "etc/hosts"
	pathResolvConf     = "etc/resolv.conf"
	stubResolvConf     = "../run/systemd/resolve/stub-resolv.conf"
)

// Name is "network".
func (*Network) Name() string { return NameNetwork }

func hostNetworkPath(name string) string {
	return filepath.Join(dirNetwork, "50-ve-"+name+".network")
}

func resolvedPath(name string) string {
	return filepath.Join(dirResolved, "50-nspawn-build-"+name+".conf")
}

// Check lists what is missing in the tree and on the host.
func (n *Network) Check(context.Context) ([]pipeline.Change, error) {
	var changes []pipeline.Change
	wishes, err := n.wishes()
	if err != nil {
		return nil, err
	}
	err = withTree(n.Record, func(tree *rootfs.Tree) error {
		left, err := open(tree, wishes)
		for _, w := range left {
			changes = append(changes, w.change())
		}
		return err
	})
	if errors.Is(err, errNoTree) {
		err = nil
		for _, w := range wishes {
			changes = append(changes, w.change())
		}
	}
	if err != nil {
		return nil, err
	}
	files, err := n.hostFiles(false)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.content == nil {
			f.content = []byte{} // said in planning only: the host key is not made yet
		}
		same, err := n.Files.Same(f.path, f.content, f.ours)
		if err != nil {
			return nil, err
		}
		if !same {
			changes = append(changes, pipeline.Change{Action: "create", Subject: f.path, Detail: f.detail})
		}
	}
	if n.keptInVain() {
		changes = append(changes, pipeline.Change{Action: "stop", Subject: unitfile.LinkUnit(n.Record.Machine().Name)})
	}
	return n.checkAlias(changes)
}

// keptInVain tells whether systemd still keeps a link that needs it no more.
func (n *Network) keptInVain() bool {
	if n.Link != nil || n.StopLink == nil {
		return false
	}
	_, err := os.Lstat(unitfile.LinkReady(n.Record.Machine().Name))
	return err == nil
}

// Apply writes it all.
func (n *Network) Apply(ctx context.Context) error {
	wishes, err := n.wishes()
	if err != nil {
		return err
	}
	err = withTree(n.Record, func(tree *rootfs.Tree) error {
		left, err := open(tree, wishes)
		for _, w := range left {
			err = errors.Join(err, w.grant(tree))
		}
		return err
	})
	if err != nil {
		return err
	}
	return n.Exclusive(ctx, func() error {
		if err := n.leave(false); err != nil {
			return err
		}
		files, err := n.hostFiles(false)
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := n.Files.Write(f.path, f.content, 0o644, f.ours); err != nil {
				return err
			}
		}
		if err := n.addAlias(); err != nil {
			return err
		}
		if err := n.reload(ctx, true); err != nil || !n.keptInVain() {
			return err
		}
		return n.StopLink(ctx)
	})
}

// Undo takes the machine out of the host's files. Those in the tree go with
// the tree.
func (n *Network) Undo(ctx context.Context) error {
	return n.Exclusive(ctx, func() error {
		// Others that go at the same time must not write it back.
		if err := n.leave(true); err != nil {
			return err
		}
		files, err := n.hostFiles(true)
		if err != nil {
			return err
		}
		changed := false
		for _, f := range files {
			_, statErr := os.Lstat(f.path)
			if f.content == nil {
				changed = changed || statErr == nil
				err = unlessForeign(n.Files.Remove(f.path, f.ours))
			} else {
				err = unlessForeign(n.Files.Write(f.path, f.content, 0o644, f.ours))
				// Without room a line about a machine that is gone stays,
				// until the next run writes the list of those that are there.
				if atomicfile.IsFull(err) {
					err = nil
				}
			}
			if err != nil {
				return err
			}
		}
		if err := n.removeAlias(); err != nil {
			return err
		}
		return n.reload(ctx, changed)
	})
}

// leave notes whether the machine is about to go.
func (n *Network) leave(going bool) error {
	if n.Record.Machine().Leaving == going {
		return nil
	}
	if going {
		return n.Record.UpdateIfRoom(func(m *store.Machine) { m.Leaving = true })
	}
	return n.Record.Update(func(m *store.Machine) { m.Leaving = false })
}

func (n *Network) reload(ctx context.Context, changed bool) error {
	if !changed || n.Record.Machine().Spec.Network.Private {
		return nil
	}
	if n.Link != nil {
		if err := n.Link.Reload(ctx); err != nil {
			return err
		}
	}
	if n.usesStub() {
		if err := n.ReloadResolver(ctx); err != nil {
			return err
		}
	}
	if n.Reload == nil || !n.hasNetworkFile() {
		return nil
	}
	return n.Reload(ctx)
}

// hasNetworkFile tells whether networkd is told anything of the link.
func (n *Network) hasNetworkFile() bool {
	return n.Unmanaged || !n.Record.Machine().Builtin()
}

// usesStub says that the machine asks the host's own resolver.
func (n *Network) usesStub() bool {
	return n.ReloadResolver != nil && n.Record.Machine().Spec.Network.DNS.Mode == spec.DNSHost
}

// wishes lists what is wanted in the tree.
func (n *Network) wishes() ([]wish, error) {
	m := n.Record.Machine()
	wishes, err := linkWishes(m)
	if err != nil {
		return nil, err
	}
	if m.Complete {
		return wishes, nil // the rest is the user's to change by now
	}
	wishes = append(wishes, wish{path: pathHostname, content: []byte(m.Name + "\n"), mode: 0o644})
	if m.Clone == nil { // whose hosts file came with its tree
		wishes = append(wishes, wish{path: pathHosts, content: hostsFile(m.Name), mode: 0o644})
	}
	if m.Facts == nil || len(m.Facts.ResolverUnits) > 0 {
		return append(wishes, wish{path: pathResolvConf, target: stubResolvConf}), nil
	}
	return append(wishes, wish{path: pathResolvConf, content: resolvConf(m.DNS), mode: 0o644}), nil
}

func hostsFile(name string) []byte {
	short, _, dotted := strings.Cut(name, ".")
	names := name
	if dotted {
		names += " " + short
	}
	return []byte("127.0.0.1 localhost\n127.0.1.1 " + names + "\n::1 localhost ip6-localhost ip6-loopback\n")
}

func resolvConf(servers []netip.Addr) []byte {
	var b strings.Builder
	b.WriteString("# Made by nspawn-build.\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	return []byte(b.String())
}

// hostFile is one generated file on the host; nil content means that nothing
// is left to say in it.
type hostFile struct {
	path    string
	content []byte
	detail  string
	ours    hostfile.Ours
}

// hostFiles lists the files on the host with the content that they should
// have; leaving says that the machine is about to go.
func (n *Network) hostFiles(leaving bool) ([]hostFile, error) {
	m := n.Record.Machine()
	if m.Spec.Network.Private {
		return nil, nil // the host has no part in it
	}
	config, known, err := n.sshFiles(m, leaving)
	if err != nil {
		return nil, err
	}
	files := []hostFile{
		{sshConfig, config, "ssh " + m.Name + ".nspawn", shared},
		{knownHosts, known, "the machine's host key", shared},
	}
	own, err := n.ownFiles(m)
	if err != nil {
		return nil, err
	}
	if leaving {
		for i := range own {
			own[i].content = nil
		}
	}
	return append(own, files...), nil
}

// ownFiles lists those that are about this machine alone.
func (n *Network) ownFiles(m store.Machine) ([]hostFile, error) {
	ours := func(c []byte) bool { return unitfile.Made(c, m.Name) }
	var own []hostFile
	if n.hasNetworkFile() {
		network, err := unitfile.HostNetwork{
			Machine: m.Name, Link: m.Interface, Address: m.HostSide, SystemdVersion: n.SystemdVersion, Unmanaged: m.Builtin(),
		}.Render()
		if err != nil {
			return nil, err
		}
		own = append(own, hostFile{hostNetworkPath(m.Name), network, m.HostSide.String(), ours})
	}
	if n.usesStub() {
		stub, err := unitfile.ResolvedStub{Machine: m.Name, Address: m.HostSide.Addr()}.Render()
		if err != nil {
			return nil, err
		}
		own = append(own, hostFile{resolvedPath(m.Name), stub, "the host's resolver answers the machine", ours})
	}
	if n.Link == nil {
		return own, nil
	}
	units, err := n.Link.files(m, ours)
	return append(own, units...), err
}

// sshFiles renders what ssh is told of all machines.
func (n *Network) sshFiles(m store.Machine, leaving bool) (config, known []byte, err error) {
	all, err := n.Machines()
	if err != nil {
		return nil, nil, err
	}
	// Who has no link is not reached by ssh.
	unknown := func(o store.Machine) bool { return o.HostKey == "" || o.Spec.Network.Private }
	all = slices.DeleteFunc(all, func(o store.Machine) bool { return o.Name == m.Name || o.Leaving || unknown(o) })
	if !leaving && !unknown(m) {
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, nil, nil
	}
	slices.SortFunc(all, func(a, b store.Machine) int { return strings.Compare(a.Name, b.Name) })
	var hosts []unitfile.SSHHost
	var keys []unitfile.KnownHost
	for _, o := range all {
		hosts = append(hosts, unitfile.SSHHost{Name: o.Name, Address: o.Address.Addr(), Alias: o.Spec.Network.Alias})
		keys = append(keys, unitfile.KnownHost{Name: o.Name, Address: o.Address.Addr(), Keys: []string{o.HostKey}})
	}
	if config, err = unitfile.SSHConfig(hosts); err != nil {
		return nil, nil, err
	}
	known, err = unitfile.KnownHosts(keys)
	return config, known, err
}

// shared reports whether a file is ours and belongs to no single machine.
func shared(content []byte) bool { return unitfile.Made(content, "") }

// ResolveDNS turns what the spec says of DNS into addresses: uplinks are the
// servers that the host asks, stub is the host's own address on the link.
func ResolveDNS(d spec.DNS, uplinks []netip.Addr, stub netip.Addr) ([]netip.Addr, error) {
	switch d.Mode {
	case spec.DNSServers:
		return d.Servers, nil
	case spec.DNSHost:
		return []netip.Addr{stub}, nil
	}
	if len(uplinks) == 0 {
		return nil, ErrNoUplink
	}
	return uplinks, nil
}

// ErrNoUplink says that the host asks no DNS server that a machine could ask.
var ErrNoUplink = errors.New("this host asks no DNS server that a machine could reach")
