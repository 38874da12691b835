// Package plugincheck runs the conformance suite over the binary of a plugin, as
// nspawn-build runs plugins: verified, enclosed, with a clean environment and
// mutual TLS. The binary need not be installed and no plugins.lock need vouch for
// it, but as ever nobody but root may be able to write to it.
//
// It prints nothing, and leaves nothing: what a plugin makes is removed.
package plugincheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/grpc"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
)

// Subject is a binary that is tried.
type Subject struct {
	host    *pluginhost.Host
	listing pluginhost.Listing
	place   string
}

var _ conformance.Subject = (*Subject)(nil)

// New makes a Subject of a program, for which nothing vouches, and which nobody
// but root and owner can write to. It becomes the one plugin of h. The error is
// a *pluginhost.RefusedError when it is not run. place is the directory in which
// jobs get theirs.
func New(h *pluginhost.Host, path string, owner uint32, place string) (*Subject, error) {
	trial, err := pluginhost.OnTrial(path, owner)
	if err != nil {
		return nil, err
	}
	h.Directories, h.Dev = nil, []pluginhost.DevPlugin{trial}
	l, err := h.DevListing()
	if err != nil {
		return nil, err
	}
	return &Subject{host: h, listing: l, place: place}, nil
}

// Name is what the plugin is called by its file.
func (s *Subject) Name() string { return s.listing.Name }

// SHA256 is that of the binary which is tried.
func (s *Subject) SHA256() string { return s.listing.SHA256 }

// InProcess implements conformance.Subject: there is a process.
func (*Subject) InProcess() bool { return false }

// Start implements conformance.Subject.
func (s *Subject) Start(ctx context.Context, g conformance.Grants, wire conformance.Wire) (conformance.Session, error) {
	session, err := s.host.StartWired(ctx, s.listing, pluginhost.Grants(g),
		func(conn grpc.ClientConnInterface) grpc.ClientConnInterface { return wire(conn) })
	if err != nil {
		return nil, started(err)
	}
	return session, nil
}

// started says which rule a plugin breaks that did not start.
func started(err error) error {
	var version *pluginhost.VersionError
	switch {
	case errors.As(err, &version):
		return &conformance.StartError{ID: sdk.RuleHandshakeVersion, Err: err}
	case errors.Is(err, pluginhost.ErrProtocol):
		return err // which has its rule
	case errors.Is(err, pluginhost.ErrPluginDied), errors.Is(err, pluginhost.ErrUnresponsive):
		return &conformance.StartError{ID: conformance.RuleHandshakeStart, Err: err}
	}
	return err
}

// Directories implements conformance.Subject. The target has the mode with which
// create gives it.
func (s *Subject) Directories() (conformance.Grants, func() error, error) {
	dir, err := os.MkdirTemp(s.place, "job-") // 0700
	if err != nil {
		return conformance.Grants{}, nil, err
	}
	remove := func() error { return Remove(context.Background(), dir) }
	g := conformance.Grants{
		Target: filepath.Join(dir, "target"), CacheDirectory: filepath.Join(dir, "cache"), WorkDirectory: filepath.Join(dir, "work"),
	}
	if err := rootfs.MakeRoot(g.Target); err != nil {
		return g, nil, errors.Join(err, remove())
	}
	// Downloads are public, and tools read them as users of their own.
	for path, mode := range map[string]os.FileMode{g.CacheDirectory: 0o755, g.WorkDirectory: 0o700} {
		if err := os.Mkdir(path, mode); err != nil {
			return g, nil, errors.Join(err, remove())
		}
	}
	return g, remove, nil
}

// Remove removes a directory that was made for a trial, with all that is in it,
// and nothing that is mounted there.
func Remove(ctx context.Context, dir string) error {
	tree, err := rootfs.Open(dir)
	if err != nil {
		return err
	}
	id, err := tree.Identity()
	if err := errors.Join(err, tree.Close()); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return rootfs.RemoveTree(ctx, dir, id)
}
