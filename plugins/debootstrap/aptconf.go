package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// treeConfig is the configuration of apt in the tree for the time of the
// bootstrap. It concerns what is fetched and how, and is removed in the end.
// A mirror that does not answer is given up within about a minute.
func (j *job) treeConfig(fromHost []string) string {
	lines := []string{
		`Acquire::Languages "none";`,
		`Acquire::PDiffs "false";`,
		`Acquire::Retries "2";`,
		`Acquire::http::Timeout "20";`,
		`Acquire::https::Timeout "20";`,
		`Acquire::ftp::Timeout "20";`,
		`APT::Cmd::Pattern-Only "true";`, // a name is a name, no regular expression
		`APT::Install-Recommends "false";`,
		`APT::Keep-Downloaded-Packages "true";`,
		`Dpkg::Use-Pty "false";`,
	}
	if j.archived {
		lines = append(lines, `Acquire::Check-Valid-Until "false";`)
	}
	return strings.Join(append(lines, fromHost...), "\n") + "\n"
}

// unsynced is the configuration of dpkg for the time of the bootstrap: nothing
// of the tree is used before the host has written all of it to the disk.
const unsynced = "force-unsafe-io\n"

// noUsrmerge keeps apt from installing the program that merges /usr afterwards, and
// its dependencies, into a tree that is merged from the start.
const noUsrmerge = "Package: usrmerge\nPin: release *\nPin-Priority: -1\n"

// preferences are apt's for the time of the bootstrap, see apt_preferences(5).
// With pins nothing but those packages can be installed, in those versions, be
// they older than what the archive has by now.
func (j *job) preferences() string {
	var all []string
	if j.engine == engineMmdebstrap && release.UsrIsMerged(j.distro, j.codename) {
		all = append(all, noUsrmerge)
	}
	if len(j.pinned) > 0 {
		all = append(all, "Package: *\nPin: release *\nPin-Priority: -1\n")
	}
	for _, p := range j.pinned {
		name := p.Name
		if p.Architecture != "all" {
			name += ":" + p.Architecture
		}
		all = append(all, "Package: "+name+"\nPin: version "+p.Version+"\nPin-Priority: 1001\n")
	}
	return strings.Join(all, "\n")
}

// outsideConfig makes the host's apt work on the tree and on nothing else. The
// keys that the host itself trusts count for nothing: each source names its own.
// Essential packages are what the archive says, without apt's own opinion, as
// mmdebstrap does it.
func (j *job) outsideConfig(sandboxed bool, logins []string) string {
	lines := []string{
		setting("APT::Architecture", j.architecture),
		setting("APT::Architectures", j.architecture),
		setting("Dir", j.target),
		setting("Dir::State::Status", j.target+"/var/lib/dpkg/status"),
		setting("Dir::Etc::Trusted", "/dev/null"),
		setting("Dir::Etc::TrustedParts", "/dev/null"),
		setting("pkgCacheGen::ForceEssential", ","),
	}
	if !sandboxed {
		lines = append(lines, setting("APT::Sandbox::User", "root"))
	}
	return strings.Join(append(lines, logins...), "\n") + "\n"
}

func setting(name, value string) string { return fmt.Sprintf("%s %q;", name, value) }

// hostLogins lets apt find the logins that the host has for its own mirror.
func hostLogins() []string {
	return []string{
		setting("Dir::Etc::netrc", "/etc/apt/auth.conf"),
		setting("Dir::Etc::netrcparts", "/etc/apt/auth.conf.d"),
	}
}

// dumped is a line of `apt-config dump` that says how to reach mirrors, or
// that the host's mirror is an archive whose dates have passed.
var dumped = regexp.MustCompile(
	`^Acquire::(https?|ftp)::[A-Za-z0-9:._-]+ "[^"\\]+";$|^Acquire::(Check-Valid-Until|Check-Date|ForceIPv[46]) "[^"\\]+";$`)

// fromDump picks those settings out of what the host's `apt-config dump` says.
// Time limits are ours.
func fromDump(lines []string) []string {
	var picked []string
	for _, line := range lines {
		if dumped.MatchString(line) && !strings.Contains(line, "::Timeout ") {
			picked = append(picked, line)
		}
	}
	return picked
}
