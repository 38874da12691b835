package main

import (
	"errors"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// The mirrors that are used when none is named. pacman itself fills in the
// variables.
const (
	defaultMirror = "https://fastly.mirror.pkgbuild.com/$repo/os/$arch"
	archiveMirror = "https://archive.archlinux.org/repos/" // and the day
	armMirror     = "http://mirror.archlinuxarm.org/$arch/$repo"
)

// repositories are those that are used, in order of precedence.
func (j *job) repositories() []string {
	if j.machine == arm {
		// https://archlinuxarm.org/about/mirrors and the distribution's own
		// pacman.conf.
		return []string{"core", "extra", "alarm", "aur"}
	}
	return []string{"core", "extra"}
}

// builtInMirror is the mirror for a job that names none.
func (j *job) builtInMirror() string {
	switch {
	case j.machine == arm:
		return armMirror
	case j.dated():
		return archiveMirror + j.release + "/$repo/os/$arch"
	}
	return defaultMirror
}

// resolveMirrors decides where packages come from: the user's mirrors, else
// what the host itself uses, else the distribution's own.
func (h host) resolveMirrors(j *job, mirrors []string, found *sdk.Findings) {
	for _, mirror := range mirrors {
		if err := checkMirror(mirror); err != nil {
			found.Refuse("mirrors", sdk.Quoted(mirror)+" "+err.Error(), mirrorHint(mirror, j))
			continue
		}
		if j.dated() && !strings.Contains(mirror, "/"+j.release+"/") {
			found.Refuse("mirrors", sdk.Quoted(mirror)+" does not have the day "+sdk.Quoted(j.release)+" in it",
				"leave out --mirror, or name a copy of the archive, as "+j.builtInMirror())
			continue
		}
		if onlyHere(mirror) {
			found.Warn("mirrors", "a machine cannot reach "+mirror+", which it is made from",
				"to install packages in it, write one that it can reach to its /etc/pacman.d/mirrorlist")
		}
		if !slices.Contains(j.mirrors, mirror) {
			j.mirrors = append(j.mirrors, mirror)
		}
	}
	if len(mirrors) > 0 {
		return
	}
	if !j.dated() {
		j.mirrors = h.mirrors(j.machine)
	}
	if len(j.mirrors) == 0 {
		j.mirrors = []string{j.builtInMirror()}
	}
}

// mirrorHint says how the mirror would have to be written. Shells replace $repo
// by nothing unless it is quoted, and users forget it.
func mirrorHint(mirror string, j *job) string {
	if base := strings.TrimRight(mirror, "/"); checkMirrorBase(base) == nil && !strings.Contains(base, "$") {
		return "write it as pacman does, in single quotes: '" + base + "/$repo/os/$arch'"
	}
	return "write it as pacman does, in single quotes: '" + j.builtInMirror() + "', or file:///DIRECTORY/$repo/os/$arch"
}

// plainMirror has no character that pacman's configuration, a shell or a
// terminal takes for anything but itself, but for the two variables of pacman.
// There is no %, with which a URL says things that it does not show.
var plainMirror = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~:/+=,@\[\]-]*$`)

// variables are those that pacman replaces in a mirror.
var variables = strings.NewReplacer("$repo", "repo", "$arch", "arch")

// checkMirror reports what is wrong with a mirror, as the rest of a sentence
// that begins with it.
func checkMirror(mirror string) error {
	if err := checkMirrorBase(mirror); err != nil {
		return err
	}
	if !strings.Contains(mirror, "$repo") {
		return errors.New("does not say where the name of the repository goes: it has no $repo")
	}
	return nil
}

func checkMirrorBase(mirror string) error {
	plain := variables.Replace(mirror)
	if strings.Contains(plain, "$") {
		return errors.New("has a variable that pacman does not know: there are $repo and $arch")
	}
	if !plainMirror.MatchString(plain) {
		return errors.New("is not a plain URL: white space, quotes, % and the like are not taken")
	}
	u, err := url.Parse(plain)
	if err != nil {
		return errors.New("is not a URL")
	}
	switch {
	case !slices.Contains([]string{"http", "https", "file"}, u.Scheme):
		return errors.New("begins with none of http://, https:// and file:///")
	case u.User != nil:
		return errors.New("holds a user name or password, which would end up in the machine")
	case u.Scheme == "file" && (u.Host != "" || !path.IsAbs(u.Path)):
		return errors.New("is not of the form file:///PATH")
	case u.Scheme != "file" && u.Hostname() == "":
		return errors.New("names no host")
	case strings.Contains(u.Path+"/", "/../"), strings.Contains(u.Host, "repo") && strings.Contains(mirror, "://$"):
		return errors.New("does not name one place")
	}
	return nil
}

// hostOf is the host that a mirror names, without its port.
func hostOf(mirror string) string {
	u, err := url.Parse(variables.Replace(mirror))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}

// dnsName is the host of a mirror when it has to be looked up in the DNS: it is
// no address, not this host and not a single label.
func dnsName(mirror string) string {
	name := hostOf(mirror)
	if _, err := netip.ParseAddr(name); err == nil || !strings.Contains(name, ".") ||
		strings.HasSuffix(name, ".localhost") || strings.HasSuffix(name, ".localdomain") {
		return ""
	}
	return name
}

// onlyHere reports whether a mirror is somewhere only on this very host.
func onlyHere(mirror string) bool {
	name := hostOf(mirror)
	if address, err := netip.ParseAddr(name); err == nil {
		return address.IsLoopback() || address.IsUnspecified()
	}
	return name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") || strings.HasPrefix(name, "localhost.")
}

// mirrorList is the machine's own /etc/pacman.d/mirrorlist. What is only on the
// host is of no use in it, and nobody's business.
func (j *job) mirrorList() string {
	var b strings.Builder
	b.WriteString("# Written by nspawn-build: the mirrors that this machine was made from.\n")
	there := false
	for _, mirror := range j.mirrors {
		if onlyHere(mirror) {
			b.WriteString("# (one that is only on the host that made this machine)\n")
			continue
		}
		there = true
		b.WriteString("Server = " + mirror + "\n")
	}
	if !there {
		b.WriteString("# To install packages, uncomment this one or write another.\n#Server = " + j.builtInMirror() + "\n")
	}
	return b.String()
}
