package main

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// job is a request with everything decided that can be without the network.
type job struct {
	distro       string
	suite        string // as the user says it: trixie, testing
	codename     string // what suite stands for; empty when the host does not know
	machine      string // as `uname -m` prints it
	architecture string // as Debian calls it
	native       bool
	engine       string
	archives     []archive // in order of preference; empty leaves it to the tool
	security     string    // the option: auto, none or a URI
	updates      bool
	components   []string
	keyring      keyring
	packages     []string // to be there in the end, by name
	options      map[string]string
	epoch        int64         // SOURCE_DATE_EPOCH of the tools; 0 is none
	archived     bool          // the mirrors are as they were at a moment that is past
	pinned       []sdk.Package // all that is to be there in the end; empty leaves it to apt

	target string
	work   string
	cache  string
}

// resolve checks a request and decides everything about it. It looks at the
// host but at nothing beyond it.
func (h host) resolve(req sdk.Request) (*job, *sdk.Findings) {
	found := &sdk.Findings{}
	j := &job{
		distro: req.Distro, suite: req.Release, machine: req.Architecture,
		target: req.Target, work: req.WorkDirectory, cache: req.CacheDirectory, epoch: req.SourceDateEpoch, pinned: req.Pinned,
	}
	if !slices.Contains(distros, req.Distro) {
		found.Refuse("distro", sdk.Quoted(req.Distro)+" is none of the plugin's", "use "+list(distros))
		return j, found
	}
	j.resolveOptions(req.Options, found)
	h.resolveRelease(j, req.Mirrors, found)
	h.resolveArchitecture(j, found)
	h.resolveEngine(j, found)
	h.resolveKeyring(j, req.Keyring, found)
	h.resolveMirrors(j, h.resolveSnapshot(j, req, found), found)
	j.resolvePackages(req.Packages, found)
	checkDirectories(req, found)
	return j, found
}

// resolved is req with the defaults that the job has taken.
func (j *job) resolved(req sdk.Request) sdk.Request {
	req.Release, req.Architecture, req.Keyring = j.suite, j.machine, j.keyring.path
	req.Options = maps.Clone(j.options)
	req.Mirrors = slices.Clone(req.Mirrors)
	req.Packages = slices.Clone(req.Packages)
	if len(req.Mirrors) == 0 {
		for _, a := range j.archives {
			req.Mirrors = append(req.Mirrors, a.uri)
			if a.security != "" && a.security != a.uri {
				req.Mirrors = append(req.Mirrors, a.security)
			}
		}
	}
	return req
}

func (j *job) resolveOptions(given map[string]string, found *sdk.Findings) {
	j.options = found.Options(options, given)
	j.updates = j.options[optionUpdates] == "on"
	j.security = j.options[optionSecurity]
	if s := j.security; s != "auto" && s != "none" {
		if err := aptsource.CheckURI(s); err != nil {
			found.Refuse("options."+optionSecurity, sdk.Quoted(s)+": "+err.Error(), "use auto, none or a URI")
		}
	}
	j.resolveComponents(found)
}

var componentForm = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func (j *job) resolveComponents(found *sdk.Findings) {
	if j.options[optionComponents] == "" {
		j.options[optionComponents] = "main"
		if j.distro == release.Ubuntu {
			j.options[optionComponents] = "main,universe"
		}
	}
	j.components = strings.Split(j.options[optionComponents], ",")
	for _, c := range j.components {
		if !componentForm.MatchString(c) {
			found.Refuse("options."+optionComponents, sdk.Quoted(c)+" is not the name of a component",
				"use names such as main,contrib")
		}
	}
}

var suiteForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]{0,62}$`)

func (h host) resolveRelease(j *job, mirrors []string, found *sdk.Findings) {
	known := h.releases(j.distro)
	if j.suite == "" {
		j.suite = known.Default()
	}
	j.codename = known.Codename(j.suite)
	names := "known here are " + list(known.Names())
	switch {
	case j.suite == "":
		found.Refuse("release", "this host does not know which release of "+j.distro+" is the current one",
			"name one with --release")
	case !suiteForm.MatchString(j.suite):
		found.Refuse("release", sdk.Quoted(j.suite)+" is not the name of a release", names)
	case release.Ancient(j.distro, j.suite):
		found.Refuse("release", sdk.Quoted(j.suite)+" is too old to boot as a machine", names)
	case known.Has(j.suite) || h.servedLocally(j.suite, mirrors) || j.options[optionUnknown] == "allow":
	case known.Empty():
		found.Warn("release", "this host knows no releases, so nothing vouches for "+sdk.Quoted(j.suite),
			h.InstallHint(map[string]string{sdk.FamilyDebian: "distro-info-data"}))
	default:
		found.Refuse("release", "this host knows no release "+sdk.Quoted(j.suite)+" of "+j.distro,
			names+"; for one that is newer than this host's tools add --option unknown-release=allow")
	}
}

func (h host) resolveArchitecture(j *job, found *sdk.Findings) {
	if j.machine == "" {
		j.machine = h.Machine
	}
	j.architecture, j.native = debianArchitectures[j.machine], h.Native(j.machine)
	if j.architecture != "" && h.Runs(j.machine) {
		return
	}
	hint := "use " + list(h.architectures())
	if j.architecture != "" {
		hint += ", or let the host run others: " + h.InstallHint(map[string]string{
			sdk.FamilyDebian: "qemu-user-static", sdk.FamilyArch: "qemu-user-static-binfmt",
		})
	}
	found.Refuse("architecture", "this host cannot run programs for "+sdk.Quoted(j.machine), hint)
}

func (h host) resolveEngine(j *job, found *sdk.Findings) {
	field, wanted := "options."+optionEngine, j.options[optionEngine]
	if wanted == engineAuto {
		wanted = engineMmdebstrap
		if h.Find(engineMmdebstrap) == "" && h.Find(engineDebootstrap) != "" {
			wanted = engineDebootstrap
		}
	}
	j.engine, j.options[optionEngine] = wanted, wanted
	needs := map[string][]string{
		engineMmdebstrap:  {"mmdebstrap", "apt-get", "dpkg-deb"},
		engineDebootstrap: {"debootstrap", "wget", "gpgv", "chroot"},
	}
	for _, tool := range needs[wanted] {
		if h.Find(tool) == "" {
			found.Missing(field, tool+" is not installed on this host", h.InstallHint(toolPackages[tool]))
		}
	}
}

// toolPackages says which package brings a tool where.
var toolPackages = map[string]map[string]string{
	"mmdebstrap":  {sdk.FamilyDebian: "mmdebstrap", sdk.FamilyArch: "debootstrap", sdk.FamilyFedora: "debootstrap"},
	"apt-get":     {sdk.FamilyDebian: "apt"},
	"dpkg-deb":    {sdk.FamilyDebian: "dpkg"},
	"debootstrap": {sdk.FamilyDebian: "debootstrap"},
	"wget":        {sdk.FamilyDebian: "wget"},
	"gpgv":        {sdk.FamilyDebian: "gpgv", sdk.FamilyArch: "gnupg", sdk.FamilyFedora: "gnupg2"},
	"chroot":      {sdk.FamilyDebian: "coreutils"},
}

// safePath has no character that is special to apt's configuration, or to the
// shell that debootstrap hands the path of its target to.
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
