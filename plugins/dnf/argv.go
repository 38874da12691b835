package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Everything in this file is pure: a job in, command lines and files out.

// place sets the directories that commands name; Plan uses placeholders.
func (j *job) place(target, work string) {
	if j.target == "" {
		j.target = target
	}
	if j.work == "" {
		j.work = work
	}
}

// The files and directories of the work directory.
func (j *job) configPath() string     { return filepath.Join(j.work, "dnf.conf") }
func (j *job) reposPath() string      { return filepath.Join(j.work, "repos") }
func (j *job) varsPath() string       { return filepath.Join(j.work, "vars") }
func (j *job) downloadsPath() string  { return filepath.Join(j.work, "cache") }
func (j *job) homePath() string       { return filepath.Join(j.work, "home") }
func (j *job) keyPath(i int) string   { return filepath.Join(j.work, fmt.Sprintf("key-%d.asc", i+1)) }
func (j *job) pluginsPath() string    { return filepath.Join(j.work, "no-plugins") }
func (j *job) repositoryFile() string { return filepath.Join(j.reposPath(), "nspawn-build.repo") }

// logDirectory is where dnf logs what it prints: the /tmp of the tree, which is
// gone once all is installed. What of dnf 4 is older (hawkey.log) takes it for
// that of the host, which is the plugin's own.
const logDirectory = "/tmp"

// config is the main configuration. dnf 4.14 to 5.4 read it alike. A mirror that
// does not answer is given up within about a minute.
func (j *job) config() string {
	lines := []string{
		"[main]",
		"assumeyes=1",
		"best=1",
		"color=never",
		"excludepkgs=selinux-policy*", // of no use in a machine, and large
		"gpgcheck=1",
		"install_weak_deps=0",
		"keepcache=1",
		"localpkg_gpgcheck=1",
		"max_parallel_downloads=6",
		"minrate=1000",
		"module_platform_id=" + j.distro.platform(j.release),
		"plugins=0",
		"retries=2",
		"skip_if_unavailable=0",
		"timeout=20",
	}
	return strings.Join(lines, "\n") + "\n"
}

// repositoryConfig is the file of repositories, which trust that many keys.
func (j *job) repositoryConfig(keys int) string {
	var files []string
	for i := range keys {
		files = append(files, "file://"+j.keyPath(i))
	}
	signed := "0"
	if j.options[optionSignatures] == "required" {
		signed = "1"
	}
	var b strings.Builder
	for i, r := range j.repositories {
		fmt.Fprintf(&b, "[%s]\nname=%s\n", r.id, r.name)
		for _, place := range []struct{ key, value string }{
			{"baseurl", r.baseurl}, {"metalink", r.metalink}, {"mirrorlist", r.mirrorlist},
		} {
			if place.value != "" {
				fmt.Fprintf(&b, "%s=%s\n", place.key, place.value)
			}
		}
		fmt.Fprintf(&b, "cost=%d\nenabled=1\ngpgcheck=1\ngpgkey=%s\nrepo_gpgcheck=%s\nskip_if_unavailable=0\n",
			1000+i, strings.Join(files, " "), signed)
	}
	return b.String()
}

// macros make rpm keep its database where the rpm of the tree will look for it:
// that of Debian would put it in root's home.
func (j *job) macros() string {
	return "%_dbpath " + j.distro.dbPath(j.release) + "\n"
}

// dnf is a command of dnf's on the tree. Directories are given here and not in
// the configuration because dnf 4 takes those that it reads there for places in
// the tree.
func (j *job) dnf(arguments ...string) []string {
	argv := []string{
		j.engine.program,
		"--config=" + j.configPath(),
		"--installroot=" + j.target,
		"--releasever=" + j.release,
		"--setopt=reposdir=" + j.reposPath(),
		"--setopt=varsdir=" + j.varsPath(),
		"--setopt=cachedir=" + j.downloadsPath(),
		"--setopt=pluginconfpath=" + j.pluginsPath(),
		"--setopt=logdir=" + logDirectory,
	}
	if !j.native {
		argv = append(argv, "--forcearch="+j.machine)
	}
	return append(argv, arguments...)
}

// download fetches the indexes, whatever there is of an earlier time, and all
// packages that are wanted.
func (j *job) download() []string {
	return j.dnf(append([]string{"--refresh", "install", "--downloadonly"}, j.wanted()...)...)
}

// install installs them without looking at the network again.
func (j *job) install() []string {
	return j.dnf(append([]string{"--cacheonly", "install"}, j.wanted()...)...)
}

// wanted is what dnf is asked to install: with pins, each of them in full.
func (j *job) wanted() []string {
	if len(j.pinned) == 0 {
		return j.packages
	}
	all := make([]string, 0, len(j.pinned))
	for _, p := range j.pinned {
		all = append(all, p.Name+"-"+p.Version+"."+p.Architecture)
	}
	return all
}

// makeUsers makes the users and groups of packages, which rpm does by itself from
// 4.19 on only.
func (j *job) makeUsers() []string { return []string{sysusers, "--root=" + j.target} }

// rpm is a query of the tree's database by the host's rpm.
func (j *job) rpm(arguments ...string) []string {
	return append([]string{"rpm", "--root=" + j.target, "--dbpath=" + j.distro.dbPath(j.release), "--query"}, arguments...)
}

// listPackages prints what is installed, a package a line.
func (j *job) listPackages() []string {
	return j.rpm("--all", "--queryformat", `%{NAME}|%{EPOCHNUM}:%{VERSION}-%{RELEASE}|%{ARCH}|%{SOURCERPM}|%{LICENSE}\n`)
}

// listProviders fails when nothing that is installed provides name.
func (j *job) listProviders(name string) []string {
	return j.rpm("--whatprovides", "--", name)
}

// listOwners prints the files that are not root's.
func (j *job) listOwners() []string {
	return j.rpm("--all", "--queryformat", `[%{FILEUSERNAME}|%{FILEGROUPNAME}|%{FILEMODES:octal}|%{FILENAMES}\n]`)
}

// askTree asks the tree's own rpm, which must find the database that was made.
func (j *job) askTree() []string {
	return []string{"chroot", j.target, "rpm", "--query", "systemd"}
}

// commands is all that Bootstrap runs, in order.
func (j *job) commands() [][]string {
	return [][]string{
		j.download(), j.install(), j.makeUsers(), j.listOwners(), j.listPackages(), j.askTree(),
	}
}
