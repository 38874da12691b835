package main

import (
	"io/fs"
	"path"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// archive is where a job gets its packages from. An empty uri stands for the
// tool's own choice, as long as that is not known.
type archive struct {
	uri         string
	key         keyring
	security    string // of the security updates; empty when there are none
	securityKey keyring
	updates     bool // has the suite of updates
	askSecurity bool // where security updates are is still to be found out
	ofHost      bool // the host's own, to be used with the host's settings
}

// archiveForm is how archives of old packages write a moment in their addresses.
const archiveForm = "20060102T150405Z"

// resolveSnapshot writes the moment that is asked for into the mirrors.
func (h host) resolveSnapshot(j *job, req sdk.Request, found *sdk.Findings) []string {
	moment := found.Snapshot(req.Snapshot, h.now())
	j.archived = !moment.IsZero()
	if req.Snapshot != "" && !j.archived {
		return req.Mirrors // it was refused
	}
	return found.SnapshotMirrors(req.Mirrors, moment, archiveForm, "https://archive.example.org/"+req.Distro+"/"+sdk.SnapshotVariable)
}

// resolveMirrors decides where packages come from: the user's mirrors, else
// what the host itself uses, else what the tool knows.
func (h host) resolveMirrors(j *job, mirrors []string, found *sdk.Findings) {
	var bases []string
	security := ""
	for _, uri := range mirrors {
		if err := aptsource.CheckURI(uri); err != nil {
			found.Refuse("mirrors", sdk.Quoted(uri)+": "+err.Error(), "give a base URL such as https://mirror.example.org/debian")
			continue
		}
		uri = strings.TrimRight(uri, "/")
		switch {
		case !aptsource.IsSecurity(uri):
			bases = append(bases, uri)
		case security == "":
			security = uri
		}
	}
	own := h.archive(j.distro)
	if len(bases) == 0 && own.URI != "" {
		bases = []string{own.URI}
	}
	for _, uri := range bases {
		j.archives = append(j.archives, h.archiveAt(j, uri, security, own, found))
	}
}

// archiveAt completes what is to be known of the archive at uri.
func (h host) archiveAt(j *job, uri, security string, own aptsource.Archive, found *sdk.Findings) archive {
	a := archive{uri: uri, key: j.keyring, securityKey: j.keyring, updates: j.wantsUpdates()}
	if uri == own.URI {
		a.ofHost = true
		a.key = h.keyringOfHost(j, own.SignedBy, found)
	}
	if local := aptsource.LocalPath(uri); local != "" {
		if !h.hasSuite(local, j.suite) {
			found.Refuse("mirrors", "there is no release "+sdk.Quoted(j.suite)+" in "+uri,
				"it needs the file "+path.Join(local, "dists", j.suite, "InRelease"))
		}
		a.updates = a.updates && h.hasSuite(local, release.UpdatesSuite(j.distro, j.suite))
	}
	if aptsource.OnlyHere(uri) {
		found.Warn("mirrors", "a machine cannot reach "+uri+", which its package sources will name",
			"once it runs, write sources that it can reach to its /etc/apt/sources.list.d/"+j.distro+".sources")
	}
	h.resolveSecurity(j, &a, security, own, found)
	return a
}

// resolveSecurity decides where security updates come from.
func (h host) resolveSecurity(j *job, a *archive, security string, own aptsource.Archive, found *sdk.Findings) {
	suite := release.SecuritySuite(j.distro, j.suite)
	local := aptsource.LocalPath(a.uri)
	switch {
	case suite == "" || j.security == "none":
	case j.security != "auto":
		a.security = strings.TrimRight(j.security, "/")
	case security != "":
		a.security = security
	case j.archived:
		found.Warn("mirrors", "no security updates: no mirror that has those of "+j.suite+" at that moment is named",
			"add it, or --option "+optionSecurity+"=none to say that it is meant")
	case local != "" && h.hasSuite(local, suite):
		a.security = a.uri
	case aptsource.OnlyHere(a.uri):
		found.Warn("mirrors", "no security updates: "+a.uri+" has none, and no other mirror is asked for a local one",
			"add the --mirror that has them, or --option "+optionSecurity+"=none to say that it is meant")
	case a.key.own && a.uri != own.URI:
		found.Warn("mirrors", "no security updates: no mirror with those that "+j.keyring.path+" signs is named",
			"add the --mirror that has them, or --option "+optionSecurity+"=none to say that it is meant")
	case own.Security != "":
		a.security = own.Security
	case j.distro == release.Ubuntu: // every mirror of Ubuntu's has them
		a.security = a.uri
	default:
		a.askSecurity = true
	}
	if a.security != "" && a.security == own.Security {
		a.securityKey = h.keyringOfHost(j, own.SecuritySignedBy, found)
	}
	if a.security == a.uri {
		a.securityKey = a.key
	}
}

// wantsUpdates reports whether the suite of updates is to be used.
func (j *job) wantsUpdates() bool {
	return j.updates && release.UpdatesSuite(j.distro, j.suite) != ""
}

// keyringOfHost is the keyring that the host's sources name, unless the user
// has named one, or it is one of the distribution's: that may hold the keys of
// the host's release only.
func (h host) keyringOfHost(j *job, signedBy string, found *sdk.Findings) keyring {
	if signedBy == "" || j.keyring.own || strings.HasPrefix(path.Base(signedBy), j.distro+"-archive-") {
		return j.keyring
	}
	if err := h.checkKeyring(signedBy); err != nil {
		found.Missing("keyring", sdk.Quoted(signedBy)+", which the package sources of this host name, "+err.Error(),
			"mend the sources of this host, or name keys with --keyring and a mirror with --mirror")
	}
	return keyring{path: signedBy, own: true}
}

// hasSuite reports whether the archive in a directory of the host has suite.
func (h host) hasSuite(directory, suite string) bool {
	if !suiteForm.MatchString(strings.ReplaceAll(suite, "/", "-")) {
		return false
	}
	for _, name := range []string{"InRelease", "Release"} {
		file := path.Join(directory, "dists", suite, name)
		if _, err := fs.Stat(h.Root, strings.TrimPrefix(file, "/")); err == nil {
			return true
		}
	}
	return false
}

// servedLocally reports whether one of the mirrors is a directory that has the
// suite, which is as good as any table of releases.
func (h host) servedLocally(suite string, mirrors []string) bool {
	for _, uri := range mirrors {
		if local := aptsource.LocalPath(uri); local != "" && h.hasSuite(local, suite) {
			return true
		}
	}
	return false
}
