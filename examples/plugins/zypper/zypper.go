package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Everything in this file is pure: a job in, command lines and files out.

// database is where rpm keeps its database on openSUSE. Debian's rpm would put it
// elsewhere.
const database = "/usr/lib/sysimage/rpm"

// wanted are the packages that are asked for: what a machine needs to boot, be on
// the network and be reached over SSH, and the user's.
func (j *job) wanted() []string {
	all := []string{
		"aaa_base", "hostname", "iproute2", "openssh-server", "rpm", "shadow", "systemd", "util-linux", "zypper",
	}
	if j.Release == "16.0" {
		all = append(all, "Leap-release")
	} else {
		all = append(all, "openSUSE-release")
	}
	if strings.HasPrefix(j.Release, "15.") { // where one package has both
		all = append(all, "systemd-network")
	} else {
		all = append(all, "systemd-networkd", "systemd-resolved")
	}
	all = append(all, j.Packages...)
	slices.Sort(all)
	return slices.Compact(all)
}

func (j *job) inWork(name string) string { return filepath.Join(j.WorkDirectory, name) }

func (j *job) keyPath(i int) string { return j.inWork(fmt.Sprintf("key-%d.asc", i+1)) }

func repositoryID(i int) string { return fmt.Sprintf("mirror-%d", i+1) }

// files are what zypper and rpm read, by their names in the work directory.
func (j *job) files() map[string]string {
	files := map[string]string{
		// A mirror that does not answer is given up within a minute.
		"zypp.conf":   "[main]\nsolver.onlyRequires = true\ndownload.connect_timeout = 20\ndownload.max_silent_tries = 2\n",
		"zypper.conf": "[main]\n",
		// rpm looks at the one or, from 4.20 on, at the other.
		"home/.rpmmacros":         "%_dbpath " + database + "\n",
		"home/.config/rpm/macros": "%_dbpath " + database + "\n",
	}
	for i, url := range j.urls {
		files["repos/"+repositoryID(i)+".repo"] = repository(i, url) + "keeppackages=1\n"
	}
	return files
}

// repository is the file of one. Its index has to be signed with a key that is
// trusted, and tells the digest of every package.
func repository(i int, url string) string {
	return fmt.Sprintf("[%s]\nname=%[1]s\nbaseurl=%s\ntype=rpm-md\nenabled=1\nautorefresh=1\npriority=%d\ngpgcheck=1\nrepo_gpgcheck=1\n",
		repositoryID(i), url, 90+i)
}

// environment keeps the host's configuration of zypper and rpm out.
func (j *job) environment() []string {
	return []string{
		"LC_ALL=C.UTF-8", "HOME=" + j.inWork("home"), "XDG_CONFIG_HOME=" + j.inWork("home/.config"),
		"TMPDIR=" + j.WorkDirectory, "ZYPPTMPDIR=" + j.WorkDirectory,
		"ZYPP_CONF=" + j.inWork("zypp.conf"), "ZYPP_LOGFILE=" + j.inWork("zypper.log"),
	}
}

// rpm is a command of the host's rpm on the tree.
func (j *job) rpm(arguments ...string) []string {
	return append([]string{"rpm", "--root=" + j.Target, "--dbpath=" + database}, arguments...)
}

// zypper is a command of zypper's on the tree. --gpg-auto-import-keys must never
// be among its options: it trusts whatever key a mirror offers.
func (j *job) zypper(arguments ...string) []string {
	return append([]string{
		"zypper", "--root", j.Target, "--config", j.inWork("zypper.conf"), "--non-interactive", "--reposd-dir", j.inWork("repos"),
		"--raw-cache-dir", j.inWork("cache/raw"), "--solv-cache-dir", j.solv, "--pkg-cache-dir", j.inWork("cache/packages"),
	}, arguments...)
}

func (j *job) install(options ...string) []string {
	argv := append([]string{"--no-refresh", "install", "--no-recommends", "--auto-agree-with-licenses"}, options...)
	return j.zypper(append(argv, j.wanted()...)...)
}

func (j *job) importKeys() []string {
	argv := j.rpm("--import")
	for i := range j.keys {
		argv = append(argv, j.keyPath(i))
	}
	return argv
}

// listPackages prints what is installed, a package a line.
func (j *job) listPackages() []string {
	return j.rpm("--query", "--all", "--queryformat", `%{NAME}|%{EPOCHNUM}:%{VERSION}-%{RELEASE}|%{ARCH}|%{SOURCERPM}|%{LICENSE}\n`)
}

// commands is all that Bootstrap runs, in order.
func (j *job) commands() [][]string {
	return [][]string{j.importKeys(), j.zypper("refresh"), j.install("--download-only"), j.install(), j.listPackages()}
}
