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

	target string
	work   string
	cache  string
}

// resolve checks a request and decides everything about it. It looks at the
// host but at nothing beyond it.
func (h host) resolve(req sdk.Request) (*job, findings) {
	var found findings
	j := &job{
		distro: req.Distro, suite: req.Release, machine: req.Architecture,
		target: req.Target, work: req.WorkDirectory, cache: req.CacheDirectory,
	}
	if !slices.Contains(distros, req.Distro) {
		found.refuse("distro", quoted(req.Distro)+" is none of the plugin's", "use "+list(distros))
		return j, found
	}
	j.resolveOptions(req.Options, &found)
	h.resolveRelease(j, req.Mirrors, &found)
	h.resolveArchitecture(j, &found)
	h.resolveEngine(j, &found)
	h.resolveKeyring(j, req.Keyring, &found)
	h.resolveMirrors(j, req.Mirrors, &found)
	j.resolvePackages(req.Packages, &found)
	checkDirectories(req, &found)
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

func (j *job) resolveOptions(given map[string]string, found *findings) {
	j.options = map[string]string{}
	for _, o := range options {
		j.options[o.Name] = o.Default
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		i := slices.IndexFunc(options, func(o sdk.Option) bool { return o.Name == key })
		if i < 0 {
			found.refuse("options", "there is no option "+quoted(key), "the options are "+list(optionNames()))
			continue
		}
		if o := options[i]; o.Choices != nil && !slices.Contains(o.Choices, given[key]) {
			found.refuse("options."+key, quoted(given[key])+" is none of its values", "use "+list(o.Choices))
			continue
		}
		j.options[key] = given[key]
	}
	j.updates = j.options[optionUpdates] == "on"
	j.security = j.options[optionSecurity]
	if s := j.security; s != "auto" && s != "none" {
		if err := aptsource.CheckURI(s); err != nil {
			found.refuse("options."+optionSecurity, quoted(s)+": "+err.Error(), "use auto, none or a URI")
		}
	}
	j.resolveComponents(found)
}

func optionNames() []string {
	var names []string
	for _, o := range options {
		names = append(names, o.Name)
	}
	return names
}

var componentForm = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func (j *job) resolveComponents(found *findings) {
	if j.options[optionComponents] == "" {
		j.options[optionComponents] = "main"
		if j.distro == release.Ubuntu {
			j.options[optionComponents] = "main,universe"
		}
	}
	j.components = strings.Split(j.options[optionComponents], ",")
	for _, c := range j.components {
		if !componentForm.MatchString(c) {
			found.refuse("options."+optionComponents, quoted(c)+" is not the name of a component",
				"use names such as main,contrib")
		}
	}
}

var suiteForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]{0,62}$`)

func (h host) resolveRelease(j *job, mirrors []string, found *findings) {
	known := h.releases(j.distro)
	if j.suite == "" {
		j.suite = known.Default()
	}
	j.codename = known.Codename(j.suite)
	names := "known here are " + list(known.Names())
	switch {
	case j.suite == "":
		found.refuse("release", "this host does not know which release of "+j.distro+" is the current one",
			"name one with --release")
	case !suiteForm.MatchString(j.suite):
		found.refuse("release", quoted(j.suite)+" is not the name of a release", names)
	case release.Ancient(j.distro, j.suite):
		found.refuse("release", quoted(j.suite)+" is too old to boot as a machine", names)
	case known.Has(j.suite) || h.servedLocally(j.suite, mirrors) || j.options[optionUnknown] == "allow":
	case known.Empty():
		found.warn("release", "this host knows no releases, so nothing vouches for "+quoted(j.suite),
			h.install(map[string]string{familyDebian: "distro-info-data"}))
	default:
		found.refuse("release", "this host knows no release "+quoted(j.suite)+" of "+j.distro,
			names+"; for one that is newer than this host's tools add --option unknown-release=allow")
	}
}

func (h host) resolveArchitecture(j *job, found *findings) {
	if j.machine == "" {
		j.machine = h.machine
	}
	j.architecture, j.native = debianArchitectures[j.machine], h.native(j.machine)
	if j.architecture != "" && (j.native || h.emulated(j.machine)) {
		return
	}
	hint := "use " + list(h.architectures())
	if j.architecture != "" {
		hint += ", or let the host run others: " + h.install(map[string]string{
			familyDebian: "qemu-user-static", familyArch: "qemu-user-static-binfmt",
		})
	}
	found.refuse("architecture", "this host cannot run programs for "+quoted(j.machine), hint)
}

func (h host) resolveEngine(j *job, found *findings) {
	field, wanted := "options."+optionEngine, j.options[optionEngine]
	if wanted == engineAuto {
		wanted = engineMmdebstrap
		if h.find(engineMmdebstrap) == "" && h.find(engineDebootstrap) != "" {
			wanted = engineDebootstrap
		}
	}
	j.engine, j.options[optionEngine] = wanted, wanted
	needs := map[string][]string{
		engineMmdebstrap:  {"mmdebstrap", "apt-get", "dpkg-deb"},
		engineDebootstrap: {"debootstrap", "wget", "gpgv", "chroot"},
	}
	for _, tool := range needs[wanted] {
		if h.find(tool) == "" {
			found.missing(field, tool+" is not installed on this host", h.install(toolPackages[tool]))
		}
	}
}

// toolPackages says which package brings a tool where.
var toolPackages = map[string]map[string]string{
	"mmdebstrap":  {familyDebian: "mmdebstrap", familyArch: "debootstrap", familyFedora: "debootstrap"},
	"apt-get":     {familyDebian: "apt"},
	"dpkg-deb":    {familyDebian: "dpkg"},
	"debootstrap": {familyDebian: "debootstrap"},
	"wget":        {familyDebian: "wget"},
	"gpgv":        {familyDebian: "gpgv", familyArch: "gnupg", familyFedora: "gnupg2"},
	"chroot":      {familyDebian: "coreutils"},
}

// safePath has no character that is special to apt's configuration, or to the
// shell that debootstrap hands the path of its target to.
var safePath = regexp.MustCompile(`^/[A-Za-z0-9._/@%+=:,~-]*$`)

// checkDirectories looks at the form of the directories that are given.
// Validate and Plan come without.
func checkDirectories(req sdk.Request, found *findings) {
	for _, directory := range []struct{ field, path string }{
		{"target", req.Target}, {"cache_directory", req.CacheDirectory}, {"work_directory", req.WorkDirectory},
	} {
		path := directory.path
		if path != "" && (!safePath.MatchString(path) || filepath.Clean(path) != path) {
			found.refuse(directory.field, quoted(path)+" holds characters that the tools cannot take in a path",
				"use a directory whose path has only letters, digits and . _ - + = : , @ % ~")
		}
	}
}
