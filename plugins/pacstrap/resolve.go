package main

import (
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// job is a request with everything decided that can be without the network.
type job struct {
	release   string // rolling or YYYY/MM/DD
	machine   string // as `uname -m` prints it, and pacman
	mirrors   []string
	keyring   keyring
	databases string   // optional or required: their signatures
	packages  []string // to be there in the end: names, groups, REPOSITORY/NAME
	options   map[string]string
	// checkSpace lets pacman see first whether all fits, for which it needs the
	// host's /etc/mtab.
	checkSpace bool

	epoch  int64         // stands for every time that is left in the tree; 0 is none
	pinned []sdk.Package // all that is to be there in the end; empty leaves it to pacman

	target string
	work   string
	cache  string

	// Set when the job runs.
	scratch  string   // a directory with a short path
	packageD []string // where pacman puts packages and finds them, in order
}

// resolve checks a request and decides everything about it. It looks at the
// host but at nothing beyond it.
func (h host) resolve(req sdk.Request) (*job, *sdk.Findings) {
	found := &sdk.Findings{}
	j := &job{
		release: req.Release, machine: req.Architecture,
		target: req.Target, work: req.WorkDirectory, cache: req.CacheDirectory, epoch: req.SourceDateEpoch, pinned: req.Pinned,
	}
	if req.Distro != distro {
		found.Refuse("distro", sdk.Quoted(req.Distro)+" is not the plugin's", "use "+distro)
		return j, found
	}
	j.options = found.Options(options, req.Options)
	j.databases = j.options[optionDatabases]
	h.checkTools(found)
	h.resolveArchitecture(j, found)
	h.resolveRelease(j, found)
	h.resolveSnapshot(j, req.Snapshot, found)
	h.resolveMirrors(j, j.dayInto(req.Mirrors), found)
	h.resolveKeyring(j, req.Keyring, found)
	j.resolvePackages(req.Packages, found)
	checkDirectories(req, found)
	_, err := fs.Stat(h.Root, "etc/mtab")
	j.checkSpace = err == nil
	return j, found
}

// resolved is req with the defaults that the job has taken.
func (j *job) resolved(req sdk.Request) sdk.Request {
	req.Release, req.Architecture, req.Keyring = j.release, j.machine, j.keyring.path
	req.Options = maps.Clone(j.options)
	req.Mirrors = slices.Clone(j.mirrors)
	req.Packages = slices.Clone(req.Packages)
	return req
}

func (h host) resolveArchitecture(j *job, found *sdk.Findings) {
	if j.machine == "" {
		j.machine = h.Machine
	}
	if osID[j.machine] != "" && h.Runs(j.machine) {
		return
	}
	hint := "use " + strings.Join(h.architectures(), ", ")
	if osID[j.machine] != "" {
		hint += ", or let the host run others: " + h.InstallHint(packagesOf("qemu-user-static", "qemu-user-static-binfmt", "qemu-user-static"))
	}
	found.Refuse("architecture", "this host cannot run programs of "+distro+" for "+sdk.Quoted(j.machine), hint)
}

// basePackages is what a machine needs to boot, be on the network and be
// reached over SSH: systemd's network and resolver are part of it.
var basePackages = []string{"base", "openssh"}

// standardPackages is what people miss first in a minimal system.
var standardPackages = []string{"less", "nano", "sudo", "which"}

// packageForm is the name of a package or group as PKGBUILD(5) allows it, with
// the repository to take it from if need be.
var packageForm = regexp.MustCompile(`^(?:([a-z0-9][a-z0-9_.-]*)/)?([A-Za-z0-9@_+][A-Za-z0-9@._+-]*)$`)

// packageName is the name in one of the asked for packages.
func packageName(asked string) string {
	if m := packageForm.FindStringSubmatch(asked); m != nil {
		return m[2]
	}
	return ""
}

// resolvePackages puts together what must be there in the end.
func (j *job) resolvePackages(asked []string, found *sdk.Findings) {
	j.packages = append(j.packages, basePackages...)
	if j.options[optionVariant] == "standard" {
		j.packages = append(j.packages, standardPackages...)
	}
	for _, name := range asked {
		m := packageForm.FindStringSubmatch(name)
		switch {
		case m == nil:
			found.Refuse("packages", sdk.Quoted(name)+" is not the name of a package or group",
				"use names such as git, base-devel or extra/vim")
		case m[1] != "" && !slices.Contains(j.repositories(), m[1]):
			found.Refuse("packages", sdk.Quoted(name)+" is of a repository that is not used",
				"use "+strings.Join(j.repositories(), ", ")+", or the name alone")
		case !slices.Contains(j.packages, name):
			j.packages = append(j.packages, name)
		}
	}
}

// safePath has no character that is special to pacman's configuration, where
// white space around a value is dropped.
var safePath = regexp.MustCompile(`^/[A-Za-z0-9._/@%+=:,~-]*$`)

// checkDirectories looks at the form of the directories that are given.
// Validate and Plan come without.
func checkDirectories(req sdk.Request, found *sdk.Findings) {
	for _, directory := range []struct{ field, path string }{
		{"target", req.Target}, {"cache_directory", req.CacheDirectory}, {"work_directory", req.WorkDirectory},
	} {
		path := directory.path
		if path != "" && (!safePath.MatchString(path) || filepath.Clean(path) != path) {
			found.Refuse(directory.field, sdk.Quoted(path)+" holds characters that the tools cannot take in a path",
				"use a directory whose path has only letters, digits and . _ - + = : , @ % ~")
		}
	}
}
