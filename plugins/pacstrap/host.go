package main

import (
	"bufio"
	"slices"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// host is what the plugin asks of the host it runs on before it does anything.
type host struct {
	sdk.Host

	now func() time.Time
}

func thisHost() host { return host{Host: sdk.ThisHost(), now: time.Now} }

// The architectures, as `uname -m` and pacman alike call them.
const (
	x86    = "x86_64"
	arm    = "aarch64"
	idArch = "arch"
	idArm  = "archarm"
)

// osID is the ID in os-release of the distribution that is made for each
// architecture.
var osID = map[string]string{x86: idArch, arm: idArm}

// architectures lists what can be made and run here, the host's own first.
func (h host) architectures() []string {
	var can []string
	for _, machine := range []string{x86, arm} {
		if h.Runs(machine) {
			can = append(can, machine)
		}
	}
	slices.SortStableFunc(can, func(a, b string) int {
		switch h.Machine {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	return can
}

// maxOwnMirrors bounds how many of the host's mirrors are used: lists of all
// the mirrors in the world have been seen.
const maxOwnMirrors = 8

// mirrors are those that the host's pacman uses, if it is of the distribution
// that is to be made itself, in order.
func (h host) mirrors(machine string) []string {
	if h.OSRelease()["ID"] != osID[machine] || !h.Native(machine) {
		return nil
	}
	f, err := h.Root.Open("etc/pacman.d/mirrorlist")
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read from
	var mirrors []string
	for in := bufio.NewScanner(f); in.Scan() && len(mirrors) < maxOwnMirrors; {
		key, value, ok := strings.Cut(in.Text(), "=")
		value = strings.TrimSpace(value)
		if ok && strings.TrimSpace(key) == "Server" && checkMirror(value) == nil {
			mirrors = append(mirrors, value)
		}
	}
	return mirrors
}

// tool is a program that the plugin runs, and the package that brings it where.
type tool struct {
	name, purpose string
	packages      map[string]string
}

var tools = []tool{
	{"pacstrap", "installs Arch Linux into a directory", packagesOf("arch-install-scripts", "arch-install-scripts", "arch-install-scripts")},
	{"pacman", "installs packages of Arch Linux", packagesOf("pacman-package-manager", "pacman", "pacman")},
	{"pacman-key", "prepares the keys that packages are verified with", packagesOf("makepkg", "pacman", "pacman")},
	{"gpg", "verifies signatures", packagesOf("gnupg", "gnupg", "gnupg2")},
	{"unshare", "keeps what the tools start and mount apart from the host", packagesOf("util-linux", "util-linux", "util-linux")},
}

func packagesOf(debian, arch, fedora string) map[string]string {
	return map[string]string{sdk.FamilyDebian: debian, sdk.FamilyArch: arch, sdk.FamilyFedora: fedora}
}

func toolNeeds() []sdk.ToolNeed {
	var needs []sdk.ToolNeed
	for _, t := range tools {
		needs = append(needs, sdk.ToolNeed{AnyOf: []string{t.name}, Purpose: t.purpose, Packages: t.packages})
	}
	return needs
}

// checkTools notes those that are missing.
func (h host) checkTools(found *sdk.Findings) {
	for _, t := range tools {
		if h.Find(t.name) == "" {
			found.Missing("distro", t.name+" is not installed on this host", h.InstallHint(t.packages))
		}
	}
}
