package main

import (
	"regexp"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// list joins choices for people.
func list(names []string) string { return strings.Join(names, ", ") }

// packageForm is a package's name (Debian Policy 5.6.1) with an architecture
// or a version if need be. A trailing - would ask apt to remove the package.
var packageForm = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]*[a-z0-9+.])(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?$`)

// packageName is the name in one of the user's packages.
func packageName(asked string) string {
	if m := packageForm.FindStringSubmatch(asked); m != nil {
		return m[1]
	}
	return ""
}

// basePackages is what a machine needs beside the smallest system to boot, be
// on the network and be reached over SSH.
var basePackages = []string{
	"ca-certificates", "dbus", "iproute2", "libpam-systemd", "openssh-server", "systemd-sysv",
}

// resolverPackages is the stub resolver, where it is a package of its own.
var resolverPackages = []string{"libnss-resolve", "systemd-resolved"}

// standardPackages is what people miss first in a minimal system.
var standardPackages = []string{"curl", "iputils-ping", "less", "nano", "netbase", "procps"}

// resolvePackages puts together what must be there in the end: the machine's
// packages, then the user's. The resolver is last of the former, since its
// installation replaces /etc/resolv.conf.
func (j *job) resolvePackages(asked []string, found *sdk.Findings) {
	codename := j.codename
	if codename == "" {
		codename = j.suite
	}
	j.packages = append(j.packages, basePackages...)
	if j.options[optionVariant] == "standard" {
		j.packages = append(j.packages, standardPackages...)
	}
	if release.UsrIsMerged(j.distro, codename) {
		j.packages = append(j.packages, "usr-is-merged")
	}
	if release.ResolvedApart(j.distro, codename) {
		j.packages = append(j.packages, resolverPackages...)
	}
	for _, name := range asked {
		if packageName(name) == "" {
			found.Refuse("packages", sdk.Quoted(name)+" is not the name of a package",
				"use names such as git, libc6:i386 or nginx=1.26.3-3")
			continue
		}
		j.packages = append(j.packages, name)
	}
}
