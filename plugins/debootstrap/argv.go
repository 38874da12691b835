package main

import (
	"path/filepath"
	"strings"

	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// Everything in this file is pure: a job in, command lines out.

// place sets the directories that commands name; Plan uses placeholders.
func (j *job) place(target, work string) {
	if j.target == "" {
		j.target = target
	}
	if j.work == "" {
		j.work = work
	}
}

// The files that exist only while the tree is being filled. mmdebstrap copies
// the sources that it is given to a name made of 0000 and theirs, unless that
// exists: it does, so that apt reads them once.
const (
	temporarySources = "etc/apt/sources.list.d/0000nspawn-build-bootstrap.sources"
	temporaryApt     = "etc/apt/apt.conf.d/00nspawn-build-bootstrap"
	temporaryPins    = "etc/apt/preferences.d/00nspawn-build-bootstrap"
	temporaryDpkg    = "etc/dpkg/dpkg.cfg.d/00nspawn-build-bootstrap"
)

func (j *job) aptConfigPath() string { return filepath.Join(j.work, "apt.conf") }

func (j *job) sourcesPath() string {
	return filepath.Join(j.work, "nspawn-build-bootstrap.sources")
}

// apt is an apt-get that works on the tree: the host's, told so by the file in
// APT_CONFIG, or the tree's own.
func (j *job) apt(arguments ...string) []string {
	if j.engine == engineMmdebstrap {
		return append([]string{"apt-get", "--yes"}, arguments...)
	}
	return append([]string{"chroot", j.target, "apt-get", "--yes"}, arguments...)
}

// update fetches the indexes. Any of them that is missing is an error: what
// could be left out are security updates.
func (j *job) update() []string { return j.apt("update", "--error-on=any") }

// wanted is what apt is asked to install. From outside it starts from nothing,
// so the smallest system is part of it, in the words of mmdebstrap; inside,
// that is there and wants upgrading.
func (j *job) wanted() []string {
	if j.engine == engineMmdebstrap {
		return append([]string{"install", "?essential", "?priority(required)", "apt"}, j.packages...)
	}
	upgrade := []string{"dist-upgrade"}
	if len(j.pinned) > 0 { // debootstrap knows of the newest versions only
		upgrade = append(upgrade, "--allow-downgrades")
	}
	return append(upgrade, j.packages...)
}

// simulate prints the files that would be fetched, with their digests.
func (j *job) simulate() []string {
	return j.apt(append([]string{"--print-uris", "-o", "Acquire::ForceHash=SHA256"}, j.wanted()...)...)
}

// download fetches them; descriptor 3 tells how far it is.
func (j *job) download() []string {
	return j.apt(append([]string{"--download-only", "-o", "APT::Status-Fd=3"}, j.wanted()...)...)
}

// install installs them.
func (j *job) install() []string { return j.apt(j.wanted()...) }

// mmdebstrap installs what was downloaded. The indexes are there already, the
// sources name their keys, and what it would clean up is cleaned up without it.
// No hooks are used: mmdebstrap hands them to a shell.
func (j *job) mmdebstrap() []string {
	skip := []string{"check/empty", "check/signed-by", "update", "cleanup/apt"}
	if !j.native {
		skip = append(skip, "check/qemu") // that the host can run it was looked at
	}
	return []string{
		"mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase", "--verbose",
		"--architectures=" + j.architecture,
		"--skip=" + strings.Join(skip, ","),
		"--include=" + strings.Join(j.packages, ","),
		"--", j.suite, j.target, j.sourcesPath(),
	}
}

// askMmdebstrap makes mmdebstrap write down, in directory and without touching
// the network, which sources it would use for suite.
func askMmdebstrap(architecture, suite, directory string) []string {
	return []string{
		"mmdebstrap", "--mode=root", "--format=directory", "--simulate", "--variant=custom",
		"--architectures=" + architecture,
		"--skip=check/signed-by,check/qemu,update",
		"--", suite, directory,
	}
}

// debootstrap makes the smallest system from a. An empty mirror leaves the
// choice to the tool. The script is named because an old tool has none under
// the names of newer suites.
func (j *job) debootstrap(a archive) []string {
	merged := "--merged-usr"
	if !release.MergedUsr(j.distro, j.suite) {
		merged = "--no-merged-usr"
	}
	return []string{
		"debootstrap", "--debian-installer", "--variant=minbase", merged, "--force-check-gpg",
		"--arch=" + j.architecture,
		"--keyring=" + j.hostKeyring(a),
		"--components=" + strings.Join(j.components, ","),
		"--cache-dir=" + j.debCache(),
		j.suite, j.target, a.uri, release.BaseScript(j.distro),
	}
}

// hostKeyring is the keyring for a in a form and place that gpgv can read.
func (j *job) hostKeyring(a archive) string {
	if a.key.path == "" {
		return j.keyring.path
	}
	if !a.key.own {
		return a.key.path
	}
	return filepath.Join(j.work, "keyring.gpg")
}

// debCache is where debootstrap keeps and finds packages: a directory of this
// job alone.
func (j *job) debCache() string { return filepath.Join(j.work, "debs") }

// commands is all that Bootstrap runs, in order.
func (j *job) commands(a archive) [][]string {
	if j.engine == engineMmdebstrap {
		return [][]string{j.update(), j.simulate(), j.download(), j.mmdebstrap()}
	}
	return [][]string{j.debootstrap(a), j.update(), j.simulate(), j.download(), j.install()}
}
