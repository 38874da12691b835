package main

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
)

// job is a request with everything decided that can be without the network.
type job struct {
	distro       distro
	release      string
	machine      string // as `uname -m` prints it
	native       bool
	engine       engine
	repositories []repository
	mirrors      []string // as the user gave them
	keyring      string   // the user's file; empty means the keys that the plugin knows
	keys         []pgpkeys.Key
	packages     []string // to be there in the end, sorted
	options      map[string]string
	epoch        int64         // SOURCE_DATE_EPOCH of the tools; 0 is none
	pinned       []sdk.Package // all that is to be there in the end; empty leaves it to dnf

	target string
	work   string
	cache  string
}

// resolve checks a request and decides everything about it. It looks at the
// host but at nothing beyond it.
func (h host) resolve(req sdk.Request) (*job, *sdk.Findings) {
	found := &sdk.Findings{}
	j := &job{
		release: req.Release, machine: req.Architecture,
		target: req.Target, work: req.WorkDirectory, cache: req.CacheDirectory, epoch: req.SourceDateEpoch, pinned: req.Pinned,
	}
	d, ok := find(req.Distro)
	if !ok {
		found.Refuse("distro", sdk.Quoted(req.Distro)+" is none of the plugin's", "use "+list(distroNames()))
		return j, found
	}
	j.distro = d
	j.options = found.Options(options, req.Options)
	known := j.resolveRelease(found)
	h.resolveArchitecture(j, found)
	h.resolveTools(j, found)
	if known {
		h.resolveKeys(j, req.Keyring, found)
		j.resolveRepositories(h.resolveSnapshot(j, req, found), found)
	}
	j.resolvePackages(req.Packages, found)
	checkDirectories(req, found)
	return j, found
}

// resolved is req with the defaults that the job has taken.
func (j *job) resolved(req sdk.Request) sdk.Request {
	req.Release, req.Architecture = j.release, j.machine
	req.Options = maps.Clone(j.options)
	req.Mirrors = slices.Clone(req.Mirrors)
	req.Packages = slices.Clone(req.Packages)
	return req
}

// list joins choices for people.
func list(names []string) string { return strings.Join(names, ", ") }

var releaseForm = regexp.MustCompile(`^(?:[0-9]{1,3}(?:\.[0-9]{1,2})?|rawhide)$`)

// resolveRelease reports whether the release is one that more can be said about.
func (j *job) resolveRelease(found *sdk.Findings) bool {
	if j.release == "" {
		j.release = j.distro.standard
	}
	names := "known here are " + list(j.distro.releases)
	minor := strings.Contains(j.release, ".")
	switch {
	case !releaseForm.MatchString(j.release) || j.release == rawhide && j.distro.name != "fedora":
		found.Refuse("release", sdk.Quoted(j.release)+" is not the name of a release", names)
		return false
	case minor && (j.distro.name == "fedora" || j.distro.name == "centos"):
		found.Refuse("release", j.distro.title+" has no minor releases, so there is no "+sdk.Quoted(j.release), names)
		return false
	case slices.Contains(j.distro.releases, major(j.release)) || j.options[optionUnknown] == "allow":
		return true
	}
	found.Refuse("release", "this plugin knows no release "+sdk.Quoted(j.release)+" of "+j.distro.name,
		names+"; for another add --option "+optionUnknown+"=allow, and its keys with --keyring")
	return false
}

func (h host) resolveArchitecture(j *job, found *sdk.Findings) {
	if j.machine == "" {
		j.machine = h.Machine
	}
	j.native = h.Native(j.machine)
	ported := slices.Contains(machines, j.machine)
	if ported && h.Runs(j.machine) {
		return
	}
	if !ported {
		found.Refuse("architecture", j.distro.title+" is not made for "+sdk.Quoted(j.machine), "use "+list(machines))
		return
	}
	found.Refuse("architecture", "this host cannot run programs for "+sdk.Quoted(j.machine),
		"use "+list(h.architectures())+", or let the host run others: "+h.InstallHint(map[string]string{
			sdk.FamilyDebian: "qemu-user-static", sdk.FamilyArch: "qemu-user-static-binfmt",
		}))
}

// sysusers is the program that makes the users of packages.
const sysusers = "systemd-sysusers"

// These say which package brings a tool where.
var (
	dnfPackages      = map[string]string{sdk.FamilyDebian: "dnf", sdk.FamilyArch: "dnf", sdk.FamilyFedora: "dnf5"}
	rpmPackages      = map[string]string{sdk.FamilyDebian: "rpm", sdk.FamilyArch: "rpm-tools", sdk.FamilyFedora: "rpm"}
	sysusersPackages = map[string]string{sdk.FamilyDebian: "systemd", sdk.FamilyArch: "systemd", sdk.FamilyFedora: "systemd"}
)

// resolveTools chooses the dnf to use and makes sure that all tools are there.
func (h host) resolveTools(j *job, found *sdk.Findings) {
	wanted := j.options[optionEngine]
	engines, mute := h.engines()
	for _, e := range engines {
		if wanted == engineAuto || e.five == (wanted == engineFive) {
			j.engine = e
			break
		}
	}
	if j.engine.program == "" {
		packages, what := dnfPackages, "neither dnf5 nor dnf is"
		switch wanted {
		case engineFive:
			packages, what = map[string]string{sdk.FamilyDebian: "dnf5"}, "dnf5 is not"
		case engineFour:
			packages, what = map[string]string{sdk.FamilyDebian: "dnf", sdk.FamilyFedora: "dnf4"}, "dnf 4 is not"
		}
		if mute != "" {
			found.Missing("options."+optionEngine, mute+" is installed, and does not tell its version", "see what `"+mute+" --version` says")
		} else {
			found.Missing("options."+optionEngine, what+" installed on this host", h.InstallHint(packages))
		}
	} else {
		j.options[optionEngine] = engineFour
		if j.engine.five {
			j.options[optionEngine] = engineFive
		}
	}
	for _, tool := range []struct {
		name     string
		packages map[string]string
	}{{"rpm", rpmPackages}, {sysusers, sysusersPackages}} {
		if h.Find(tool.name) == "" {
			found.Missing("options."+optionEngine, tool.name+" is not installed on this host", h.InstallHint(tool.packages))
		}
	}
}

// packageForm is a package's name, with a version or an architecture after it if
// need be. No character of it is special to dnf, which takes patterns, paths,
// addresses, groups (@) and packages to leave out (-) as well.
var packageForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_+.~^-]*$`)

// resolvePackages puts together what must be there in the end.
func (j *job) resolvePackages(asked []string, found *sdk.Findings) {
	j.packages = slices.Concat(basePackages, j.distro.packages)
	if j.distro.el && major(j.release) != "9" {
		// Its passwd is part of shadow-utils.
		j.packages = slices.DeleteFunc(j.packages, func(name string) bool { return name == "passwd" })
	}
	if j.options[optionVariant] == "standard" {
		j.packages = append(j.packages, standardPackages...)
	}
	for _, name := range asked {
		switch {
		case !packageForm.MatchString(name) || strings.HasSuffix(name, ".rpm"):
			found.Refuse("packages", sdk.Quoted(name)+" is not the name of a package", "use names such as git, glibc.i686 or nginx-1.28.0")
		case strings.HasPrefix(name, "selinux-policy"):
			found.Refuse("packages", sdk.Quoted(name)+" is not installed: a machine has no SELinux of its own",
				"leave it out; the host's policy is what holds")
		default:
			j.packages = append(j.packages, name)
		}
	}
	slices.Sort(j.packages)
	j.packages = slices.Compact(j.packages)
}

// safePath has no character that is special to dnf's configuration or rpm's
// macros.
var safePath = regexp.MustCompile(`^/[A-Za-z0-9._/@+=:-]*$`)

// checkDirectories looks at the form of the directories that are given.
// Validate and Plan come without.
func checkDirectories(req sdk.Request, found *sdk.Findings) {
	for _, directory := range []struct{ field, path string }{
		{"target", req.Target}, {"cache_directory", req.CacheDirectory}, {"work_directory", req.WorkDirectory},
	} {
		path := directory.path
		if path != "" && (!safePath.MatchString(path) || filepath.Clean(path) != path) {
			found.Refuse(directory.field, sdk.Quoted(path)+" holds characters that the tools cannot take in a path",
				"use a directory whose path has only letters, digits and . _ - + = : @")
		}
	}
}
