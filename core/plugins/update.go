package plugins

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

// Update is what a plugin's source has now.
type Update struct {
	Name   string `json:"name"`
	Source string `json:"source,omitempty"`
	// Current says why there is nothing to do; empty when there is.
	Current string `json:"current,omitempty"`
	// Changes are what would be different, a line each.
	Changes []string `json:"changes,omitempty"`

	candidate *candidate
}

// Names are the plugins that the lock lists.
func (s *Store) Names() ([]string, error) {
	lock, err := pluginhost.ReadLock(s.Dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for n := range lock.Plugins {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

// Ask asks the source of a plugin what it has now, and changes nothing. What it
// has must be signed as what is installed is.
func (s *Store) Ask(ctx context.Context, plugin string) (Update, error) {
	if err := pluginhost.CheckDirectory(s.Dir); err != nil {
		return Update{}, err
	}
	e, err := s.entry(plugin)
	if err != nil {
		return Update{}, err
	}
	u := Update{Name: plugin, Source: e.Source}
	if e.Source == "" {
		u.Current = "it came by make install, which renews it"
		return u, nil
	}
	src, err := s.parse(e.Source)
	if err != nil {
		return u, err
	}
	if _, pinned := src.ref.(name.Digest); pinned {
		u.Current = "it is pinned to a digest, which has nothing else; nspawn-build plugin install --replace installs another"
		return u, nil
	}
	there, err := s.present(ctx, plugin, e)
	if err != nil {
		return u, err
	}
	if e.Digest != "" {
		now, err := s.digestNow(ctx, src)
		if err != nil {
			return u, err
		}
		if now == e.Digest {
			u.Current = there.current()
			return u, nil
		}
	}
	// By whatever name it comes, it is not run unless this one's maker signed it.
	key, err := s.keyFor(plugin, nil)
	if err != nil {
		return u, err
	}
	c, err := s.examine(ctx, Wanted{Source: e.Source, Key: key})
	if err != nil {
		return u, err
	}
	if c.name != plugin {
		return u, unfit("install that one by itself: nspawn-build plugin install "+e.Source, "%s has the %s plugin now, not %s", e.Source, c.name, plugin)
	}
	if c.sum == there.sum && c.digest == e.Digest {
		u.Current = there.current()
		return u, nil
	}
	u.candidate, u.Changes = c, there.changes(c)
	return u, nil
}

// Apply installs what Ask found, that very thing.
func (s *Store) Apply(ctx context.Context, u Update) (Installed, error) {
	if u.candidate == nil {
		return Installed{}, errors.New("there is nothing to update")
	}
	e, err := s.entry(u.Name)
	if err != nil {
		return Installed{}, err
	}
	if e.Source != u.Source {
		return Installed{}, &Error{Kind: Taken, Problem: fmt.Sprintf("the %s plugin was installed anew meanwhile, from %s", u.Name, e.Source), Advice: "try again"}
	}
	// Its name is its own to have; the distros of others are not.
	return s.put(ctx, u.candidate, Wanted{own: true})
}

// older tells whether version a comes before b, as far as their numbers say.
func older(a, b string) bool {
	numbers := func(v string) []string {
		v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "-")
		return strings.Split(v, ".")
	}
	x, y := numbers(a), numbers(b)
	for i := range min(len(x), len(y)) {
		m, err1 := strconv.Atoi(x[i])
		n, err2 := strconv.Atoi(y[i])
		if err1 != nil || err2 != nil {
			return false
		}
		if m != n {
			return m < n
		}
	}
	return false
}
