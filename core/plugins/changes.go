package plugins

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// present is the plugin that an update would replace.
type present struct {
	sum, digest string
	description sdk.Description
	// mute is why it cannot be asked; the description is what the lock has then.
	mute error
}

// present asks an installed plugin what it is. One that does not start, or speaks
// another version of the protocol, is what an update is to mend; one whose file is
// not to be trusted is for a person to look at.
func (s *Store) present(ctx context.Context, plugin string, e pluginhost.Entry) (present, error) {
	found, err := s.Host.Examine()
	if err != nil {
		return present{}, err
	}
	i := slices.IndexFunc(found, func(l pluginhost.Listing) bool { return l.Path == s.path(plugin) })
	if i < 0 {
		return present{}, notInstalled(s.Dir, plugin)
	}
	p := present{sum: found[i].SHA256, digest: found[i].Pin.Digest}
	session, err := s.Host.Start(ctx, found[i], pluginhost.Grants{})
	if err == nil {
		p.description, err = session.Describe(ctx)
		err = errors.Join(err, session.Close())
	}
	var refused *pluginhost.RefusedError
	switch {
	case err == nil:
		return p, nil
	case ctx.Err() != nil:
		return p, context.Cause(ctx)
	case errors.As(err, &refused):
		return p, err
	}
	p.mute = err
	p.description = sdk.Description{Version: e.Version}
	for _, distro := range e.Distros {
		p.description.Distros = append(p.description.Distros, sdk.Distro{Name: distro})
	}
	return p, nil
}

// current says that its source has no other.
func (p present) current() string {
	if p.mute != nil {
		return "it is what its source has, though it does not start: " + p.mute.Error()
	}
	return "it is what its source has"
}

// changes says how a plugin differs from the one that is installed, as far as that
// one is known.
func (p present) changes(c *candidate) []string {
	var lines []string
	before, after := p.description, c.description
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if p.mute != nil {
		say("the one that is installed does not start: %s", p.mute)
	}
	if before.Version != after.Version {
		note := ""
		if older(after.Version, before.Version) {
			note = " (older)"
		}
		say("version %s → %s%s", before.Version, after.Version, note)
	}
	if p.sum != c.sum {
		say("sha256 %s → %s", p.sum, c.sum)
	}
	if p.digest != c.digest {
		say("digest %s → %s", p.digest, c.digest)
	}
	if p.mute == nil && before.Protocol != after.Protocol {
		say("protocol %s → %s", before.Protocol, after.Protocol)
	}
	lists := func(what string, old, now []string) {
		if d := difference(old, now); d != "" {
			say("%s %s", what, d)
		}
	}
	lists("distros", distrosOf(before), distrosOf(after))
	if p.mute != nil {
		return lines
	}
	for _, d := range after.Distros {
		at := slices.IndexFunc(before.Distros, func(o sdk.Distro) bool { return o.Name == d.Name })
		if at < 0 {
			continue
		}
		old := before.Distros[at]
		lists("releases of "+d.Name, old.Releases, d.Releases)
		lists("architectures of "+d.Name, old.Architectures, d.Architectures)
		if old.DefaultRelease != d.DefaultRelease {
			say("default release of %s %s → %s", d.Name, old.DefaultRelease, d.DefaultRelease)
		}
	}
	lists("options", optionsOf(before), optionsOf(after))
	lists("features", before.Features, after.Features)
	lists("tools on this host", toolsOf(before), toolsOf(after))
	return lines
}

func optionsOf(d sdk.Description) []string {
	var all []string
	for _, o := range d.Options {
		all = append(all, o.Name)
	}
	return all
}

func toolsOf(d sdk.Description) []string {
	var all []string
	for _, t := range d.Tools {
		all = append(all, strings.Join(t.AnyOf, "|"))
	}
	return all
}

// difference is "+new -old"; "" when there is none.
func difference(old, now []string) string {
	var parts []string
	for _, n := range now {
		if !slices.Contains(old, n) {
			parts = append(parts, "+"+n)
		}
	}
	for _, o := range old {
		if !slices.Contains(now, o) {
			parts = append(parts, "-"+o)
		}
	}
	return strings.Join(parts, " ")
}
