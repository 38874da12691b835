package main

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
)

// job is a request with everything decided.
type job struct {
	sdk.Request // with its defaults filled in

	urls []string      // of the mirrors, with their variables written out
	keys []pgpkeys.Key // that may sign

	// solv is where zypper keeps what it makes of indexes, in /tmp: what it makes
	// of the tree's database is at the same path within the tree, whose /tmp is a
	// mount that is undone.
	solv string
}

// resolve checks a request and decides everything about it. It looks at the host
// and at nothing beyond it.
func (p plugin) resolve(req sdk.Request) (*job, *sdk.Findings) {
	j, found := &job{Request: req, solv: "/tmp/zypper"}, &sdk.Findings{}
	i := slices.IndexFunc(distros, func(d distro) bool { return d.name == req.Distro })
	if i < 0 {
		found.Refuse("distro", sdk.Quoted(req.Distro)+" is none of the plugin's", "use opensuse-tumbleweed or opensuse-leap")
		return j, found
	}
	d := distros[i]
	j.Options = found.Options(nil, req.Options)
	if j.Release == "" {
		j.Release = d.releases[0]
	}
	if !slices.Contains(d.releases, j.Release) {
		found.Refuse("release", "there is no "+d.title+" "+sdk.Quoted(j.Release), "use "+strings.Join(d.releases, " or "))
	}
	if j.Architecture == "" {
		j.Architecture = p.host.Machine
	}
	if !slices.Contains(architectures, j.Architecture) || !p.host.Native(j.Architecture) {
		found.Refuse("architecture", "a machine for "+sdk.Quoted(j.Architecture)+" cannot be made on this host",
			"this plugin makes them for the host's own architecture, x86_64 or aarch64")
	}
	for _, tool := range tools {
		if p.host.Find(tool.AnyOf...) == "" {
			found.Missing("distro", tool.AnyOf[0]+" is not installed on this host", p.host.InstallHint(tool.Packages))
		}
	}
	j.resolveMirrors(d, found)
	j.resolveKeys(p.host, found)
	for _, name := range req.Packages {
		if !packageForm.MatchString(name) || strings.HasSuffix(name, ".rpm") {
			found.Refuse("packages", sdk.Quoted(name)+" is not the name of a package", "use names such as git or nginx=1.27.2")
		}
	}
	return j, found
}

// packageForm is a name, with a version if need be. zypper takes files,
// addresses, patterns and packages to remove as well.
var packageForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_+.-]*(?:=[A-Za-z0-9_+.~^:-]+)?$`)

// mirrorForm has no "?", after which zypper takes options: one turns TLS off.
// Neither does it take the kinds of addresses behind which programs are run.
var mirrorForm = regexp.MustCompile(`^(?:https?://[A-Za-z0-9.:\[\]-]+(?:/|$)|file:///)[A-Za-z0-9._~:/!()*+,;=%-]*$`)

// resolveMirrors takes the user's mirrors, of which each is a repository: the
// plugin knows none itself.
func (j *job) resolveMirrors(d distro, found *sdk.Findings) {
	if len(j.Mirrors) == 0 {
		found.Refuse("mirrors", "this plugin knows no mirror of "+d.title, "name one: --mirror '"+d.example+"'")
	}
	variables := []string{"$basearch", j.Architecture, "${basearch}", j.Architecture}
	if j.Release != rolling { // whose $releasever is the day that it was made
		variables = append(variables, "$releasever", j.Release, "${releasever}", j.Release)
	}
	for _, mirror := range j.Mirrors {
		url := strings.NewReplacer(variables...).Replace(mirror)
		if !mirrorForm.MatchString(url) {
			found.Refuse("mirrors", sdk.Quoted(mirror)+" is not the plain URL of a mirror", "give a base URL such as "+d.example)
			continue
		}
		j.urls = append(j.urls, url)
	}
}

// resolveKeys reads the keys to trust. rpm does not look at whether one has
// expired, so it is done here.
func (j *job) resolveKeys(host sdk.Host, found *sdk.Findings) {
	const hint = "the package distribution-gpg-keys has them below /usr/share/distribution-gpg-keys/opensuse"
	if j.Keyring == "" {
		found.Refuse("keyring", "this plugin knows no keys of openSUSE", "name a file with them with --keyring; "+hint)
		return
	}
	packets, err := pgpkeys.Read(host.Root, j.Keyring)
	var keys []pgpkeys.Key
	if err == nil {
		keys, err = pgpkeys.Split(packets)
	}
	if err != nil {
		found.Refuse("keyring", sdk.Quoted(j.Keyring)+" "+err.Error(), "give the absolute path of a file of public keys; "+hint)
		return
	}
	for _, key := range keys {
		if key.Valid(time.Now()) {
			j.keys = append(j.keys, key)
			continue
		}
		found.Warn("keyring", "the key "+key.Fingerprint+" has expired or was revoked", "nothing that only it has signed is installed")
	}
	if len(j.keys) == 0 {
		found.Refuse("keyring", sdk.Quoted(j.Keyring)+" has no key that is still valid", "name newer keys; "+hint)
	}
}
