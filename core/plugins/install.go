package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

// Installed is a plugin that is installed.
type Installed struct {
	Name    string   `json:"name"`
	Path    string   `json:"path"`
	Changed bool     `json:"changed"`
	Version string   `json:"version,omitempty"`
	SHA256  string   `json:"sha256"`
	Source  string   `json:"source"`
	Digest  string   `json:"digest,omitempty"` // of the artifact
	Signer  string   `json:"signer,omitempty"` // the fingerprint of the key that it must be signed by
	Distros []string `json:"distros"`
	// Instead are what it is used in place of: "debian of the debootstrap plugin".
	Instead []string `json:"instead,omitempty"`
	// Unchecked says that there is a signature, and no key to check it by.
	Unchecked bool `json:"unchecked,omitempty"`
}

// Install installs a plugin. Nothing is touched before everything is checked.
func (s *Store) Install(ctx context.Context, w Wanted) (Installed, error) {
	if err := pluginhost.CheckDirectory(s.Dir); err != nil {
		return Installed{}, err
	}
	c, err := s.examine(ctx, w)
	if err != nil {
		return Installed{}, err
	}
	return s.put(ctx, c, w)
}

// put puts a plugin that was examined into place.
func (s *Store) put(ctx context.Context, c *candidate, w Wanted) (_ Installed, err error) {
	if err := pluginhost.CheckDirectory(s.Dir); err != nil {
		return Installed{}, err
	}
	if _, err := os.Lstat(s.Dir); errors.Is(err, fs.ErrNotExist) {
		if _, err := s.conflicts(ctx, c, w.Replace, pluginhost.Entry{}); err != nil {
			return Installed{}, err
		}
		made, failed := makeDirectories(s.Dir)
		defer func() {
			if err != nil {
				removeEmpty(made)
			}
		}()
		if failed != nil {
			return Installed{}, failed
		}
	}
	release, err := pluginhost.Hold(ctx, s.Dir)
	if err != nil {
		return Installed{}, err
	}
	defer release()
	lock, open, err := s.settled()
	if err != nil {
		return Installed{}, err
	}
	old, listed := lock.Plugins[c.name]
	if old.Key != "" && w.Key == nil && (c.key == nil || c.key.String() != old.Key) {
		return Installed{}, &Error{Kind: Taken, Problem: fmt.Sprintf("the %s plugin was installed anew meanwhile", c.name), Advice: "try again"}
	}
	if err := s.placeFree(c, old, listed, w.Replace || w.own); err != nil {
		return Installed{}, err
	}
	won, err := s.conflicts(ctx, c, w.Replace, old)
	if err != nil {
		return Installed{}, err
	}
	fresh := pluginhost.Entry{
		Path: pluginhost.FileOf(c.name), SHA256: c.sum, Version: c.description.Version, Distros: distrosOf(c.description),
		Pin:   pluginhost.Pin{Source: c.source, Digest: c.digest, Installed: time.Now().UTC().Truncate(time.Second)},
		Takes: won.distros,
	}
	slices.Sort(fresh.Distros)
	if c.key != nil {
		fresh.Key = c.key.String()
	}
	done := Installed{
		Name: c.name, Path: s.path(c.name), Version: fresh.Version, SHA256: c.sum, Source: c.source, Digest: c.digest,
		Signer: FingerprintOf(fresh.Key), Distros: fresh.Distros, Instead: won.notes, Unchecked: c.signature != nil && c.key == nil,
	}
	if listed && !open && same(old, fresh) && s.intact(old) {
		return done, nil
	}
	done.Changed = true
	return done, s.write(lock, c, old, listed, fresh)
}

// same tells whether an entry says what is there already.
func same(old, fresh pluginhost.Entry) bool {
	return old.SHA256 == fresh.SHA256 && old.Source == fresh.Source && old.Digest == fresh.Digest && old.Key == fresh.Key &&
		old.Version == fresh.Version && slices.Equal(old.Distros, fresh.Distros) && slices.Equal(old.Takes, fresh.Takes)
}

// intact tells whether the file is the one that was installed, with the mode
// that it was given.
func (s *Store) intact(e pluginhost.Entry) bool {
	path := filepath.Join(s.Dir, e.Path)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o755 {
		return false
	}
	sum, err := sumOf(path)
	return err == nil && sum == e.SHA256
}

// write replaces the file, in an order in which the lock vouches for what is
// there at any time: for the old one and the new one, the new file, for that
// alone. What fails before the file is there is undone.
func (s *Store) write(lock pluginhost.Lock, c *candidate, old pluginhost.Entry, listed bool, fresh pluginhost.Entry) error {
	between := old
	between.Path, between.Next = fresh.Path, &fresh
	lock.Plugins[c.name] = between
	if err := lock.Write(s.Dir); err != nil {
		return err
	}
	if err := atomicfile.Write(s.path(c.name), c.content, 0o755); err != nil {
		if sum, serr := sumOf(s.path(c.name)); serr == nil && sum == c.sum {
			return err // it is there all the same, and vouched for
		}
		if lock.Plugins[c.name] = old; !listed {
			delete(lock.Plugins, c.name)
		}
		return errors.Join(err, s.writeLock(lock))
	}
	lock.Plugins[c.name] = fresh
	return lock.Write(s.Dir)
}

// writeLock writes a lock, or removes one that vouches for nothing.
func (s *Store) writeLock(lock pluginhost.Lock) error {
	if len(lock.Plugins) == 0 {
		return atomicfile.Remove(filepath.Join(s.Dir, "plugins.lock"))
	}
	return lock.Write(s.Dir)
}

// makeDirectories makes a directory and what leads to it, for all to read.
func makeDirectories(dir string) (made []string, err error) {
	if _, err := os.Lstat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if made, err = makeDirectories(filepath.Dir(dir)); err != nil {
		return made, err
	}
	if err := atomicfile.Mkdir(dir, 0o755); err != nil {
		return made, err
	}
	return append(made, dir), nil
}

// removeEmpty removes directories that were made for nothing.
func removeEmpty(made []string) {
	for _, dir := range slices.Backward(made) {
		_ = os.Remove(dir) // one that somebody uses meanwhile is not empty
	}
}

// placeFree refuses to replace what the lock does not vouch for, and another
// plugin unless that is wanted.
func (s *Store) placeFree(c *candidate, old pluginhost.Entry, listed, replace bool) error {
	path := s.path(c.name)
	info, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there := err == nil
	itself := there && c.file == path
	switch {
	case there && !info.Mode().IsRegular():
		return &Error{Kind: Taken, Problem: path + " is in the way: it is not a file", Advice: "move it away"}
	case there && !listed && !itself:
		return &Error{
			Kind: Taken, Problem: path + " is in the way: plugins.lock does not list it, so it is not ours to replace",
			Advice: "move it away, or, if you trust it: nspawn-build plugin install " + path,
		}
	case listed && old.Path != pluginhost.FileOf(c.name):
		return &Error{Kind: Taken, Problem: fmt.Sprintf("plugins.lock has the %s plugin at %s", c.name, old.Path), Advice: "move it away, and remove it from the lock"}
	case !listed || !there || replace || itself:
		return nil
	case old.SHA256 == c.sum && (old.Source == c.source):
		return nil
	}
	from := old.Source
	if from == "" {
		from = "make install"
	}
	hint := "replace it with --replace"
	if old.Source == c.source {
		hint = "see what changes with nspawn-build plugin update " + c.name + ", or replace it with --replace"
	}
	return &Error{
		Kind:    Taken,
		Problem: fmt.Sprintf("the %s plugin is installed already, version %s of %s (sha256 %s)", c.name, old.Version, from, old.SHA256),
		Advice:  hint,
	}
}

// won is what a plugin takes from others.
type won struct {
	distros []string
	notes   []string
}

// conflicts finds what other plugins have that a new one would have too, and
// refuses that unless it is to have it. What it has already it keeps.
func (s *Store) conflicts(ctx context.Context, c *candidate, replace bool, old pluginhost.Entry) (won, error) {
	found, err := s.Host.Claims(ctx)
	if err != nil {
		return won{}, err
	}
	var w won
	var taken []string
	for _, l := range found {
		if l.Path == s.path(c.name) || pluginhost.Hidden(l.Err) || l.Dev {
			continue
		}
		if l.Name == c.name {
			if s.rank(filepath.Dir(l.Path)) < s.rank(s.Dir) {
				return w, &Error{
					Kind: Taken, Problem: fmt.Sprintf("%s is of the same name and comes first: what is installed would never be used", l.Path),
					Advice: "remove that one",
				}
			}
			note := "the " + l.Name + " plugin " + l.Path
			if w.notes = append(w.notes, note); !replace {
				taken = append(taken, note+" has the same name")
			}
			continue
		}
		for _, distro := range distrosOf(c.description) {
			if !slices.Contains(l.Distros(), distro) {
				continue
			}
			w.distros = append(w.distros, distro)
			w.notes = append(w.notes, fmt.Sprintf("%s of the %s plugin %s", distro, l.Name, l.Path))
			if !replace && !slices.Contains(old.Takes, distro) {
				taken = append(taken, fmt.Sprintf("%s is made by the %s plugin %s", distro, l.Name, l.Path))
			}
		}
	}
	slices.Sort(w.distros)
	w.distros = slices.Compact(w.distros)
	if len(taken) > 0 {
		return w, &Error{
			Kind: Taken, Problem: fmt.Sprintf("the %s plugin of %s is not installed: %s", c.name, c.source, strings.Join(taken, "; ")),
			Advice: "have it used in their place with --replace, or remove the other plugin; nothing was changed",
		}
	}
	return w, nil
}

// rank is the place of a directory in the order in which they are looked at.
func (s *Store) rank(dir string) int {
	if at := slices.Index(s.Host.Directories, dir); at >= 0 {
		return at
	}
	return len(s.Host.Directories)
}
