package main

import (
	"path"
	"slices"

	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// viewpoint says how the sources of an archive are written for one reader.
type viewpoint struct {
	uri     func(uri string) string
	keyring func(k keyring, security bool) string
}

// sources lists what is to be read from a: the suite and its updates together,
// then the security updates.
func (j *job) sources(a archive, v viewpoint) []aptsource.Source {
	suites := []string{j.suite}
	if a.updates {
		suites = append(suites, release.UpdatesSuite(j.distro, j.suite))
	}
	all := []aptsource.Source{{
		URIs: []string{v.uri(a.uri)}, Suites: suites, Components: slices.Clone(j.components),
		SignedBy: v.keyring(a.key, false), Archived: j.archived,
	}}
	if suite := release.SecuritySuite(j.distro, j.suite); a.security != "" && suite != "" {
		all = append(all, aptsource.Source{
			URIs: []string{v.uri(a.security)}, Suites: []string{suite}, Components: slices.Clone(j.components),
			SignedBy: v.keyring(a.securityKey, true), Archived: j.archived,
		})
	}
	return all
}

// inMachine is how the machine itself reads its sources once it runs.
func (j *job) inMachine() viewpoint {
	return viewpoint{uri: func(uri string) string { return uri }, keyring: j.keyringInTree}
}

// fromOutside is how apt on the host reads them to fill the tree. It is told
// to copy from local mirrors, because dpkg, confined to the tree, could not
// read packages where they are.
func (j *job) fromOutside() viewpoint {
	return viewpoint{
		uri: copying(func(local string) string { return local }),
		keyring: func(k keyring, security bool) string {
			if !k.own {
				return k.path
			}
			return j.target + j.keyringInTree(k, security)
		},
	}
}

// fromInside is how apt in the tree reads them while the host helps: local
// mirrors are where mirrorMount says.
func (j *job) fromInside() viewpoint {
	return viewpoint{uri: copying(mirrorMount), keyring: j.keyringInTree}
}

// copying turns the URI of a local mirror into one of apt's copy method, with
// the directory that place says.
func copying(place func(local string) string) func(string) string {
	return func(uri string) string {
		if local := aptsource.LocalPath(uri); local != "" {
			return "copy://" + place(local)
		}
		return uri
	}
}

// mirrorMount is where a local mirror is mounted in the tree.
func mirrorMount(local string) string { return path.Join("/run/nspawn-build-mirror", local) }

// keyringInTree is where the machine has a keyring: the distribution's own
// comes with its packages.
func (j *job) keyringInTree(k keyring, security bool) string {
	name := "/etc/apt/keyrings/nspawn-build-" + j.distro
	switch {
	case !k.own:
		return standardKeyrings(j.distro)[0]
	case security && k != j.keyring:
		return name + "-security.gpg"
	}
	return name + ".gpg"
}

// finalSources is the text of the machine's package sources.
func (j *job) finalSources(a archive) string {
	return aptsource.Render("Written by nspawn-build when this machine was made.",
		j.sources(a, j.inMachine()))
}
