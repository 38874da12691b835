package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// repository is one that packages come from. Exactly one of the places is set.
type repository struct {
	id, name                      string
	baseurl, metalink, mirrorlist string
}

// place is where the repository is, as the user knows it.
func (r repository) place() string { return r.baseurl + r.metalink + r.mirrorlist }

// repositories are the distribution's own: releases and architectures are written
// out, since dnf's idea of them may be the host's. The addresses are those in the
// repository files that the distributions ship.
func (d distro) repositories(release, machine string) []repository {
	const fedoraLink = "https://mirrors.fedoraproject.org/metalink?repo=%s&arch=%s"
	of := func(format string, arguments ...any) string { return fmt.Sprintf(format, arguments...) }
	var all []repository
	switch d.name {
	case "fedora":
		if release == rawhide {
			return []repository{{id: "rawhide", name: "Fedora Rawhide", metalink: of(fedoraLink, "rawhide", machine)}}
		}
		return []repository{
			{id: "fedora", name: "Fedora " + release, metalink: of(fedoraLink, "fedora-"+release, machine)},
			{id: "updates", name: "Fedora " + release + " updates", metalink: of(fedoraLink, "updates-released-f"+release, machine)},
		}
	case "centos":
		for _, part := range []string{"BaseOS", "AppStream", "CRB"} {
			all = append(all, repository{
				id: strings.ToLower(part), name: d.title + " " + release + " " + part,
				metalink: of("https://mirrors.centos.org/metalink?repo=centos-%s-%s-stream&arch=%s&protocol=https", strings.ToLower(part), release, machine),
			})
		}
	case "rocky":
		for _, part := range []string{"BaseOS", "AppStream", "CRB"} {
			all = append(all, repository{
				id: strings.ToLower(part), name: d.title + " " + release + " " + part,
				mirrorlist: of("https://mirrors.rockylinux.org/mirrorlist?arch=%s&repo=%s-%s", machine, part, release),
			})
		}
	case "almalinux":
		for _, part := range []string{"baseos", "appstream", "crb"} {
			all = append(all, repository{
				id: part, name: d.title + " " + release + " " + part,
				mirrorlist: of("https://mirrors.almalinux.org/mirrorlist/%s/%s", release, part),
			})
		}
	}
	epel := "epel-" + major(release)
	if _, minor, ok := strings.Cut(release, "."); ok && major(release) != "9" {
		epel = "epel-z-" + major(release) + "." + minor // from 10 on EPEL has minor releases too
	}
	return append(all, repository{
		id: "epel", name: "Extra Packages for Enterprise Linux " + major(release), metalink: of(fedoraLink, epel, machine),
	})
}

// variable is one of dnf's in the address of a mirror.
var variable = regexp.MustCompile(`\$(?:(releasever|basearch|arch)\b|\{(releasever|basearch|arch)\})`)

// expand writes the variables of a mirror out.
func expand(mirror, release, machine string) string {
	return variable.ReplaceAllStringFunc(mirror, func(name string) string {
		if strings.Contains(name, "releasever") {
			return release
		}
		return machine
	})
}

// plainURL has no character that ends a value in dnf's configuration, that dnf
// would replace, or that it takes for the next of several addresses.
var plainURL = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~:/?#\[\]@!&'()*+;=%-]*$`)

// checkMirror says what is wrong with an address whose variables are written out,
// as the rest of a sentence that begins with it; empty means nothing.
func checkMirror(address string) string {
	if strings.Contains(address, "$") {
		return "has a variable that is none of $releasever, $basearch and $arch"
	}
	if !plainURL.MatchString(address) {
		return "is not a plain URL"
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "is not a plain URL"
	case u.User != nil:
		return "holds a user name, which others could read"
	case u.Scheme == "file" && (u.Host != "" || !strings.HasPrefix(u.Path, "/")):
		return "is not a file:// URL of an absolute path"
	case u.Scheme != "file" && u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ftp":
		return "is not of a scheme that dnf knows: file, http, https or ftp"
	case u.Scheme != "file" && u.Hostname() == "":
		return "names no host"
	}
	return ""
}

// archiveForm is how a moment is written into mirrors that keep old packages.
const archiveForm = "20060102"

// resolveSnapshot writes the moment that is asked for into the mirrors: none of
// the distributions keeps its repositories as they were.
func (h host) resolveSnapshot(j *job, req sdk.Request, found *sdk.Findings) []string {
	moment := found.Snapshot(req.Snapshot, h.now())
	if req.Snapshot != "" && moment.IsZero() {
		return req.Mirrors // it was refused
	}
	return found.SnapshotMirrors(req.Mirrors, moment, archiveForm,
		"https://archive.example.org/"+j.distro.name+"/"+sdk.SnapshotVariable+"/$releasever/$basearch")
}

// resolveRepositories decides where packages come from: the user's mirrors and
// nothing else, each a repository of its own, else the distribution's own.
func (j *job) resolveRepositories(mirrors []string, found *sdk.Findings) {
	if len(mirrors) == 0 {
		j.repositories = j.distro.repositories(j.release, j.machine)
		return
	}
	for i, mirror := range mirrors {
		address := expand(mirror, j.release, j.machine)
		if wrong := checkMirror(address); wrong != "" {
			found.Refuse("mirrors", sdk.Quoted(mirror)+" "+wrong,
				"give a base URL such as https://mirror.example.org/$releasever/$basearch/os")
			continue
		}
		j.repositories = append(j.repositories, repository{
			id:      fmt.Sprintf("mirror-%d", i+1),
			name:    fmt.Sprintf("%s %s, mirror %d", j.distro.title, j.release, i+1),
			baseurl: address,
		})
	}
	j.mirrors = mirrors
}

// onlyHere reports whether nobody but this host can reach an address.
func onlyHere(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "file" || u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

// dnsName is the host of an address when that is a name to be resolved.
func dnsName(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Hostname() == "localhost" {
		return ""
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return ""
	}
	return u.Hostname()
}
