package stages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/hostfile"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// Settings writes the machine's .nspawn file, and makes the tree known under
// /var/lib/machines where it is kept elsewhere. What is bound into the machine
// it looks at before anything is touched.
type Settings struct {
	Record         *store.Record
	Files          *hostfile.Files
	Exclusive      Exclusive
	SystemdVersion int
	// Machines lists every machine on record: what is theirs is not bound.
	Machines func() ([]store.Machine, error)
	// Reload makes the service manager read its units again; nil where there
	// is no service manager.
	Reload func(ctx context.Context) error
	Tell   pipeline.Observer
}

// Name is "settings".
func (*Settings) Name() string { return NameSettings }

func nspawnPath(name string) string { return filepath.Join(dirNspawn, name+".nspawn") }

func linkPath(name string) string { return filepath.Join(dirMachines, name) }

func bindsPath(name string) string {
	return filepath.Join(dirUnits, "systemd-nspawn@"+name+".service.d", "40-nspawn-build-binds.conf")
}

// sandboxFamilies are the kinds of sockets that a machine cannot do without.
var sandboxFamilies = []string{"AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"}

// settings are the files of one machine on the host.
type settings struct {
	nspawn []byte
	binds  []byte // nil where there is no service to keep from starting
	bound  []binding
}

// Check compares all of it with what is wanted.
func (s *Settings) Check(context.Context) ([]pipeline.Change, error) {
	m := s.Record.Machine()
	var changes []pipeline.Change
	want, err := s.render(m)
	if err != nil {
		return nil, err
	}
	for _, f := range s.files(m, want) {
		same, err := s.Files.Same(f.path, f.content, f.ours)
		if err != nil {
			return nil, err
		}
		if !same {
			changes = append(changes, pipeline.Change{Action: "create", Subject: f.path})
		}
	}
	for _, b := range want.bound {
		if !m.Complete {
			changes = append(changes, pipeline.Change{Action: "create", Subject: b.Target, Detail: "shows " + b.Source})
		}
	}
	if m.Tree.Path == linkPath(m.Name) {
		return changes, nil
	}
	linked, err := s.Files.Linked(m.Tree.Path, linkPath(m.Name))
	if err != nil {
		return nil, err
	}
	if !linked {
		changes = append(changes, pipeline.Change{Action: "create", Subject: linkPath(m.Name), Detail: "link to " + m.Tree.Path})
	}
	return changes, nil
}

func (s *Settings) ours(content []byte) bool {
	return unitfile.Made(content, s.Record.Machine().Name)
}

func (s *Settings) files(m store.Machine, want settings) []hostFile {
	files := []hostFile{{path: nspawnPath(m.Name), content: want.nspawn, ours: s.ours}}
	if want.binds != nil {
		files = append(files, hostFile{path: bindsPath(m.Name), content: want.binds, ours: s.ours})
	}
	return files
}

func (s *Settings) render(m store.Machine) (settings, error) {
	bound, err := s.bindings(m)
	if err != nil {
		return settings{}, err
	}
	out := settings{bound: bound}
	var binds []unitfile.Bind
	var sources []string
	for _, b := range bound {
		binds = append(binds, b.Bind)
		sources = append(sources, b.Source)
	}
	security := m.Spec.Security
	var families []string
	if security.Profile == spec.ProfileSandbox {
		families = sandboxFamilies
	}
	out.nspawn, err = unitfile.Nspawn{
		Machine: m.Name, SystemdVersion: s.SystemdVersion, Binds: binds,
		ReadOnly: m.Spec.Storage.ReadOnly, Ephemeral: m.Spec.Storage.Ephemeral, PrivateNetwork: m.Spec.Network.Private,
		Capabilities: security.Capabilities, DropCapabilities: security.DropCapabilities,
		NoNewPrivileges: security.NoNewPrivileges, PrivateUsers: security.PrivateUsers, SystemCallFilter: security.SystemCallFilter,
		AddressFamilies: families,
	}.Render()
	if err == nil && len(sources) > 0 && s.Reload != nil {
		out.binds, err = unitfile.BindsDropIn{Machine: m.Name, Sources: sources}.Render()
	}
	return out, err
}

// bindings decides how what is bound is bound. The error says all that is
// refused.
func (s *Settings) bindings(m store.Machine) ([]binding, error) {
	if len(m.Spec.Storage.Binds) == 0 {
		return nil, nil
	}
	all, err := s.Machines()
	if err != nil {
		return nil, err
	}
	users, err := readAccounts()
	if err != nil {
		return nil, fmt.Errorf("reading the users of this host: %w", err)
	}
	bound := binder{machine: m, all: all, systemd: s.SystemdVersion, users: users, maps: host.MapsOwners}.bindings()
	return bound, refusals(bound)
}

// Ready says what has changed about the sources of binds, so that the machine
// must not be started with them.
func (s *Settings) Ready() error {
	_, err := s.bindings(s.Record.Machine())
	return err
}

// Lost tells whether the machine's settings must be put back before it starts:
// without the file systemd-nspawn would quietly run it with none of them. What a
// user changed in it stays, but for what is called a sandbox.
func (s *Settings) Lost() (bool, error) {
	m := s.Record.Machine()
	path, sandbox := nspawnPath(m.Name), m.Spec.Security.Profile == spec.ProfileSandbox
	have, err := s.Files.Read(path, s.ours)
	switch {
	case errors.Is(err, hostfile.ErrForeign) && !sandbox:
		return false, nil
	case err != nil || have == nil || !sandbox:
		return have == nil, err
	}
	want, err := s.render(m)
	return !bytes.Equal(have, want.nspawn), err
}

// Apply writes it all.
func (s *Settings) Apply(ctx context.Context) error {
	m := s.Record.Machine()
	want, err := s.render(m)
	if err != nil {
		return err
	}
	for _, b := range want.bound {
		for _, c := range b.cautions {
			s.Tell(pipeline.Event{Stage: s.Name(), Kind: pipeline.Warning, Text: c})
		}
	}
	if !m.Complete {
		if err := withTree(s.Record, func(tree *rootfs.Tree) error { return s.prepareTree(tree, m.Spec.Storage, want.bound) }); err != nil {
			return err
		}
	}
	return s.Exclusive(ctx, func() error {
		for _, f := range s.files(m, want) {
			if err := s.Files.Write(f.path, f.content, 0o644, f.ours); err != nil {
				return err
			}
		}
		if want.binds != nil {
			if err := s.Reload(ctx); err != nil {
				return err
			}
		}
		if m.Tree.Path == linkPath(m.Name) {
			return nil
		}
		return s.Files.Link(m.Tree.Path, linkPath(m.Name))
	})
}

// Undo removes all of it; what is not ours stays.
func (s *Settings) Undo(ctx context.Context) error {
	m := s.Record.Machine()
	if err := removeSnapshots(ctx, m.Tree.Path); err != nil {
		return err
	}
	return s.Exclusive(ctx, func() error {
		bound := s.Reload != nil && len(m.Spec.Storage.Binds) > 0
		for _, path := range []string{nspawnPath(m.Name), bindsPath(m.Name)} {
			if path == bindsPath(m.Name) && !bound {
				continue
			}
			if err := unlessForeign(s.Files.Remove(path, s.ours)); err != nil {
				return err
			}
		}
		var reloaded error
		if bound {
			reloaded = s.Reload(ctx)
		}
		if m.Tree.Path == linkPath(m.Name) {
			return reloaded
		}
		return errors.Join(reloaded, s.Files.Unlink(m.Tree.Path, linkPath(m.Name)))
	})
}

// prepareTree makes in a tree what the settings need of it.
func (s *Settings) prepareTree(tree *rootfs.Tree, want spec.Storage, bound []binding) error {
	if want.ReadOnly || want.Ephemeral {
		// Every boot would be the first one: one that cannot be written down, or
		// is forgotten, and that has services make what is there already.
		if err := settleMachineID(tree); err != nil {
			return fmt.Errorf("giving the machine its id: %w", err)
		}
	}
	for _, b := range bound {
		if want.ReadOnly && spec.Within(b.Target, "/var") {
			continue // it is on the empty file system there
		}
		if err := mountPoint(tree, b); err != nil {
			return fmt.Errorf("making a place for %s: %w", b.Source, err)
		}
	}
	if !want.Ephemeral {
		return nil
	}
	if err := removeDevices(tree); err != nil {
		return fmt.Errorf("making the tree one that can be copied: %w", err)
	}
	return s.tellCost(tree)
}
