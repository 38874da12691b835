// Package stages holds the steps that make a machine, one file each, in the
// order in which they run. A stage is handed its part of the spec and just the
// capabilities that it needs.
//
// What is inside a machine's tree is touched through core/rootfs alone, what is
// on the host through core/hostfile alone. Nothing here knows a distribution:
// what differs between them comes from the facts that the plugin reported.
package stages

import (
	"context"
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// Names of the stages.
const (
	NameBootstrap = "bootstrap"
	NameCustomize = "customize"
	NamePassword  = "password"
	NameServices  = "services"
	NameNetwork   = "network"
	NameSettings  = "settings"
	NameLimits    = "limits"
	NameBoot      = "boot"
	NameEnable    = "enable"
)

// All are the stages of one machine.
type All struct {
	Bootstrap *Bootstrap
	Customize *Customize
	Password  *Password
	Services  *Services
	Network   *Network
	Settings  *Settings
	Limits    *Limits
	Boot      *Boot // nil when the machine is not to be booted
	Enable    *Enable
}

// Order is the order in which stages run; they are undone in reverse.
func (a All) Order() []pipeline.Stage {
	order := []pipeline.Stage{
		a.Bootstrap,
		a.Customize,
		a.Password,
		a.Services,
		a.Network,
		a.Settings,
		a.Limits,
	}
	if a.Boot != nil {
		order = append(order, a.Boot)
	}
	if a.Enable != nil {
		order = append(order, a.Enable)
	}
	for i, s := range order {
		order[i] = a.Customize.Hooked(s)
	}
	return order
}

// Exclusive runs f while no other run of the program changes what machines
// share: the files that name all of them, and the list of directories made.
type Exclusive func(ctx context.Context, f func() error) error

// Paths on the host.
const (
	dirNetwork  = "/etc/systemd/network"
	dirNspawn   = "/etc/systemd/nspawn"
	dirUnits    = "/etc/systemd/system"
	dirMachines = "/var/lib/machines"
	dirResolved = "/etc/systemd/resolved.conf.d"
	sshConfig   = "/etc/ssh/ssh_config.d/50-nspawn-build.conf"
	knownHosts  = unitfile.KnownHostsPath

	// HostsPath is where this host's names of machines are.
	HostsPath = "/etc/hosts"
)

// errNoTree says that the tree is not made yet: everything in it is a change.
var errNoTree = errors.New("the tree is not there yet")

// OpenTree opens a machine's published tree, and makes sure that it is the one
// that we made.
func OpenTree(r *store.Record) (*rootfs.Tree, error) { return TreeOf(r.Machine()) }

// TreeOf is the published tree of a machine, open.
func TreeOf(m store.Machine) (*rootfs.Tree, error) {
	if m.Tree.Root == (rootfs.Identity{}) || m.Tree.Staging != "" {
		return nil, errNoTree
	}
	tree, err := rootfs.Open(m.Tree.Path)
	if err != nil {
		return nil, fmt.Errorf("opening the tree of %s: %w", m.Name, err)
	}
	id, err := tree.Identity()
	if err == nil && id != m.Tree.Root {
		err = fmt.Errorf("%s %w", m.Tree.Path, hostfile.ErrForeign)
	}
	if err != nil {
		return nil, errors.Join(err, tree.Close())
	}
	return tree, nil
}

// withTree runs f with the tree of r open.
func withTree(r *store.Record, f func(*rootfs.Tree) error) error {
	tree, err := OpenTree(r)
	if err != nil {
		return err
	}
	return errors.Join(f(tree), tree.Close())
}
