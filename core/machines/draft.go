package machines

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/nspawn-build/nspawn-build/core/addr"
	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// Ask finds the plugin of a spec's distro and has it check and complete the
// request.
func (h *House) Ask(ctx context.Context, s spec.Spec, more Beyond) (_ Asked, err error) {
	listing, err := h.Plugins.ForDistro(ctx, s.Distro)
	if err != nil {
		return Asked{}, err
	}
	arch := s.Arch
	if arch == "" {
		arch = spec.NativeArch()
	}
	req := sdk.Request{
		Distro: s.Distro, Release: s.Release, Architecture: arch, Mirrors: s.Mirrors,
		Keyring: s.Keyring, Packages: s.Packages, Options: s.Options,
	}
	if err := more.add(&req, s.Snapshot, listing.Description); err != nil {
		return Asked{}, err
	}
	if err := optionsKnown(listing.Description, s.Options); err != nil {
		return Asked{}, err
	}
	if err := h.toolsReady(listing.Description, s.Distro); err != nil {
		return Asked{}, err
	}
	session, err := h.Plugins.Start(ctx, listing, pluginhost.Grants{Readable: sdk.FilesOf(req)})
	if err != nil {
		return Asked{}, err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	answer, err := session.Validate(ctx, req)
	if err != nil {
		return Asked{}, err
	}
	if err := invalid(meant(answer.Diagnostics, listing.Description, req)); err != nil {
		return Asked{}, err
	}
	for _, d := range answer.Diagnostics {
		h.Tell(pipeline.Event{Stage: stages.NameBootstrap, Kind: pipeline.Warning, Text: d.Field + ": " + d.Message, Hint: d.Hint})
	}
	state := engine(ctx, session, answer.Resolved, more)
	asked := Asked{Plugin: listing, Request: answer.Resolved, Engine: state.Engine, Repository: state.Repository}
	origin := &stages.FromPlugin{
		Request: answer.Resolved, Cache: filepath.Join(PackagesDir, listing.Name), Tell: h.Tell,
	}
	caching := h.Caching
	if listing.Dev {
		caching.Cache = nil // what it makes is for now, and not for later runs
	}
	cached, after, err := caching.Of(ctx, session, listing.Name, listing.SHA256, origin)
	if err != nil {
		return Asked{}, err
	}
	origin.Run = func(ctx context.Context, req sdk.Request, report sdk.Reporter) (facts sdk.Facts, err error) {
		grants := pluginhost.Grants{
			Target: req.Target, CacheDirectory: req.CacheDirectory, WorkDirectory: req.WorkDirectory, Readable: sdk.FilesOf(req),
		}
		session, err := h.Plugins.Start(ctx, listing, grants)
		if err != nil {
			return sdk.Facts{}, err
		}
		defer func() { err = errors.Join(err, session.Close()) }()
		if facts, err = session.Bootstrap(ctx, req, report); err == nil {
			after(ctx, session)
		}
		return facts, err
	}
	asked.Origin = cached
	return asked, nil
}

// draft is the record of a machine that does not exist yet, with everything
// decided as it would be now. It is not on disk.
func (h *House) draft(w Wanted, kind spec.Driver) (*store.Record, error) {
	s := w.Spec
	m := store.Machine{
		Name: s.Name, Created: time.Now().UTC(), Spec: s, Driver: kind,
		Interface:      addr.LinkName(s.Name, addr.SchemeOf(h.Host.NamingScheme())),
		AuthorizedKeys: slices.Clone(s.Access.SSHKeys), Clone: w.clone,
		Tree: store.Tree{Path: filepath.Join(s.Directory, s.Name)},
	}
	if s.TTL > 0 {
		m.Expires = m.Created.Add(time.Duration(s.TTL))
	}
	for _, k := range w.InvokerKeys {
		if s.Access.InvokerKeys && !slices.Contains(m.AuthorizedKeys, k) {
			m.AuthorizedKeys = append(m.AuthorizedKeys, k)
		}
	}
	if err := h.place(&m); err != nil {
		return nil, err
	}
	return h.Store.NewRecord(m), nil
}

// place gives m its addresses and checks that its link can have its name.
func (h *House) place(m *store.Machine) error {
	if m.Spec.Network.Private {
		m.Interface = "" // there is nothing to place
		return nil
	}
	all, err := h.Store.List()
	if err != nil {
		return err
	}
	var used []netip.Prefix
	var names []string
	links := map[string]bool{}
	for _, o := range all {
		if o.Name != m.Name && !o.Spec.Network.Private {
			used = append(used, o.Address.Masked())
			names = append(names, o.Name)
			links[o.Interface] = true
		}
	}
	if other, ok := addr.Collides(m.Name, names, addr.SchemeOf(h.Host.NamingScheme())); ok {
		return spec.Invalid{{
			Field: "name", Value: m.Name,
			Problem: fmt.Sprintf("would have the same network link, %s, as machine %s", m.Interface, other),
			Hint:    "choose a name that differs in its first 11 characters",
		}}
	}
	if err := publishedByOthers(m, all); err != nil {
		return err
	}
	taken, err := host.Taken(func(link string) bool { return links[link] || link == m.Interface })
	if err != nil {
		return err
	}
	subnet, err := h.subnet(m.Spec.Network, used, taken)
	if err != nil {
		return err
	}
	m.HostSide, m.Address = subnet.Host, subnet.Machine
	m.DNS, err = stages.ResolveDNS(m.Spec.Network.DNS, host.Uplinks(), m.HostSide.Addr())
	if errors.Is(err, stages.ErrNoUplink) {
		return &HostError{err.Error(), "name a server: --dns ADDRESS, or use the host's resolver: --dns host"}
	}
	return err
}

func (h *House) subnet(n spec.Network, used, taken []netip.Prefix) (addr.Subnet, error) {
	if !n.Address.IsValid() {
		subnet, err := h.Pool.Allocate(used, taken)
		var full *addr.ExhaustedError
		if errors.As(err, &full) {
			return addr.Subnet{}, &HostError{full.Error(), full.Hint()}
		}
		return subnet, err
	}
	subnet := addr.Explicit(n.Address, n.Gateway)
	err := addr.Conflict(n.Address, slices.Concat(used, taken))
	var conflict *addr.ConflictError
	if errors.As(err, &conflict) {
		return addr.Subnet{}, spec.Invalid{{Field: "network.address", Value: n.Address.String(), Problem: conflict.Error(), Hint: conflict.Hint()}}
	}
	return subnet, err
}

// reserve puts a draft on disk. The addresses are chosen again, under the lock,
// for another machine may have taken them since.
func (h *House) reserve(ctx context.Context, rec *store.Record) (*store.Record, error) {
	err := h.exclusive(ctx, func() error {
		if _, err := h.Store.Load(rec.Machine().Name); err == nil {
			return nil
		} else if !errors.Is(err, store.ErrNoMachine) {
			return err
		}
		m := rec.Machine()
		if err := h.place(&m); err != nil {
			return err
		}
		rec = h.Store.NewRecord(m)
		if err := rec.Update(func(*store.Machine) {}); err != nil {
			// The directories that were made for it go again.
			return errors.Join(h.full(m.Tree.Path, err), h.Store.Forget(m.Name))
		}
		return nil
	})
	return rec, err
}
