// Package plugins installs, verifies, updates and removes distro plugins: the
// files in a directory of plugins and the plugins.lock that vouches for them.
//
// A plugin comes from a file or from an OCI registry. Nothing that a registry
// says is believed that is not compared with a digest, and nothing is run or
// written before its digest, its signature and its architecture are as they
// must be; then it is asked what it is, enclosed like every plugin, and still
// from memory. It never replaces or removes a file that the lock does not
// vouch for, and whatever ends it, each plugin is the old one or the new one,
// whole, and vouched for.
package plugins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/registry"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Directory is where plugins are installed to.
const Directory = "/usr/local/lib/nspawn-build/plugins"

// MaxSize is the size in bytes that no plugin has which is installed.
const MaxSize = 256 << 20

// Store is a directory of plugins.
type Store struct {
	Dir string
	// Host runs plugins, and says which there are, in this directory and others.
	Host *pluginhost.Host
	// Registry says how registries are reached.
	Registry registry.Options
}

// Kind is what kind of thing is wrong.
type Kind int

// The kinds of errors.
const (
	Unfit        Kind = iota + 1 // what was to be installed is not to be
	Unreachable                  // its source cannot be asked
	Taken                        // something else has its name, its place or its distro
	NotInstalled                 // there is no such plugin
)

// Error is why something is not done, with what to do about it.
type Error struct {
	Kind    Kind
	Problem string
	Advice  string
	Err     error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Problem + ": " + e.Err.Error()
	}
	return e.Problem
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Advice }

func unfit(hint, format string, args ...any) error {
	return &Error{Kind: Unfit, Problem: fmt.Sprintf(format, args...), Advice: hint}
}

func notInstalled(dir, name string) error {
	return &Error{
		Kind: NotInstalled, Problem: fmt.Sprintf("plugin %q is not installed: %s does not list it", name, filepath.Join(dir, "plugins.lock")),
		Advice: "nspawn-build plugin list shows what there is",
	}
}

// path is where a plugin of that name is.
func (s *Store) path(name string) string { return filepath.Join(s.Dir, pluginhost.FileOf(name)) }

// entry is what the lock says of a plugin.
func (s *Store) entry(name string) (pluginhost.Entry, error) {
	lock, err := pluginhost.ReadLock(s.Dir)
	if err != nil {
		return pluginhost.Entry{}, err
	}
	e, ok := lock.Plugins[name]
	if !ok {
		return e, notInstalled(s.Dir, name)
	}
	return e, nil
}

// candidate is a plugin that may be installed.
type candidate struct {
	name        string
	source      string // as a lock has it
	file        string // the path, of a local file
	digest      string // of the artifact, of a registry's
	content     []byte
	sum         string
	signature   []byte // armored; nil without
	key         *Key   // that it is signed by; nil means that nobody asks
	description sdk.Description
}

// Wanted is what is to be installed.
type Wanted struct {
	Source string // oci://HOST/REPO:TAG, oci://HOST/REPO@sha256:…, or a path
	SHA256 string // of the program, if it is known
	Key    *Key   // who must have signed it; nil means whoever did before
	// Replace has it take the name or the distros of another plugin.
	Replace bool

	own bool // it takes the place of the plugin of its name, and nothing of others
}

// examine fetches a plugin and makes sure that it is one that may be run. What
// it needs is checked in this order: the digest, who signed it, that it is for
// this machine, and what it says of itself.
func (s *Store) examine(ctx context.Context, w Wanted) (*candidate, error) {
	src, err := s.parse(w.Source)
	if err != nil {
		return nil, err
	}
	c, err := s.fetch(ctx, src)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(c.content)
	c.sum = hex.EncodeToString(digest[:])
	if w.SHA256 != "" && w.SHA256 != c.sum {
		return nil, unfit("if you trust this one all the same, give its digest or none",
			"%s is not what was asked for: its sha256 is %s, not %s", c.source, c.sum, w.SHA256)
	}
	if c.key, err = s.keyFor(c.name, w.Key); err != nil {
		return nil, err
	}
	if c.key != nil {
		if err := c.key.verify(c); err != nil {
			return nil, err
		}
	}
	if c.description, err = s.Host.Try(ctx, c.name, c.source, c.content); err != nil {
		return nil, err
	}
	if len(c.description.Distros) == 0 {
		return nil, unfit("this is for its maker to mend", "the %s plugin of %s makes no distribution", c.name, c.source)
	}
	return c, nil
}

// keyFor is the key that a plugin of that name must be signed by: one that was
// given, or that which the one that is there was signed by.
func (s *Store) keyFor(name string, given *Key) (*Key, error) {
	if given != nil {
		return given, nil
	}
	e, err := s.entry(name)
	var e2 *Error
	if errors.As(err, &e2) && e2.Kind == NotInstalled || err == nil && e.Key == "" {
		return nil, nil //nolint:nilnil // anybody may have signed it
	}
	if err != nil {
		return nil, err
	}
	return ParseKey([]byte(e.Key))
}

func distrosOf(d sdk.Description) []string {
	var names []string
	for _, one := range d.Distros {
		names = append(names, one.Name)
	}
	return names
}
