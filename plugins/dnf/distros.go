package main

import (
	"slices"
	"strings"
)

// distro is one distribution that the plugin makes.
type distro struct {
	name, title string
	releases    []string // the newest first
	standard    string   // the release that is the default
	pins        map[string][]pin
	packages    []string // of the distribution's own, beside basePackages
	el          bool     // made from Enterprise Linux: has no systemd-networkd of its own
}

// pin is a key that a release is signed with.
type pin struct {
	fingerprint string
	files       []string // where it may be, by preference
}

// These directories hold keys: the first belongs to the package
// distribution-gpg-keys, the second to the distributions themselves.
const (
	keyCollection = "/usr/share/distribution-gpg-keys/"
	keysOfHost    = "/etc/pki/rpm-gpg/RPM-GPG-KEY-"
)

// rawhide is what Fedora calls the release that is still being made.
const rawhide = "rawhide"

// The fingerprints are those of the keys in distribution-gpg-keys 1.119.
var (
	fedoraPins = map[string][]pin{
		"42": {fedoraPin("42", "B0F4950458F69E1150C6C5EDC8AC4916105EF944")},
		"43": {fedoraPin("43", "C6E7F081CF80E13146676E88829B606631645531")},
		"44": {fedoraPin("44", "36F612DCF27F7D1A48A835E4DBFCF71C6D9F90A6")},
		"45": {fedoraPin("45", "4F50A6114CD5C6976A7F1179655A4B02F577861E")},
		// Branching moves it from one key to the next.
		rawhide: {
			fedoraPin("45", "4F50A6114CD5C6976A7F1179655A4B02F577861E"),
			fedoraPin("46", "D924B10D3E810DABDD8B56B596E7E91491211FCE"),
		},
	}
	epelPins = map[string]pin{
		"9":  {"FF8AD1344597106ECE813B918A3872BF3228467C", []string{keyCollection + "epel/RPM-GPG-KEY-EPEL-9", keysOfHost + "EPEL-9"}},
		"10": {"7D8D15CBFC4E62688591FB2633D98517E37ED158", []string{keyCollection + "epel/RPM-GPG-KEY-EPEL-10", keysOfHost + "EPEL-10"}},
	}
	// One key signs all of CentOS Stream. The first file has it with a
	// signature that is not by SHA-1, which newer programs refuse.
	centosPin = pin{"99DB70FAE1D7CE227FB6488205B555B38483C65D", []string{
		keyCollection + "centos/RPM-GPG-KEY-CentOS-Official-SHA256", keysOfHost + "centosofficial-SHA256",
		keyCollection + "centos/RPM-GPG-KEY-CentOS-Official", keysOfHost + "centosofficial",
	}}
	rockyPins = map[string]pin{
		"9":  {"21CB256AE16FC54C6E652949702D426D350D275D", []string{keyCollection + "rocky/RPM-GPG-KEY-Rocky-9", keysOfHost + "Rocky-9"}},
		"10": {"FC226859C0860BF0DDB95B085B106C736FEDFC85", []string{keyCollection + "rocky/RPM-GPG-KEY-Rocky-10", keysOfHost + "Rocky-10"}},
	}
	almaPins = map[string]pin{
		"9":  {"BF18AC2876178908D6E71267D36CB86CB86B3716", []string{keyCollection + "alma/RPM-GPG-KEY-AlmaLinux-9", keysOfHost + "AlmaLinux-9"}},
		"10": {"EE6DB7B98F5BF5EDD9DA0DE5DEE5C11CC2A1E572", []string{keyCollection + "alma/RPM-GPG-KEY-AlmaLinux-10", keysOfHost + "AlmaLinux-10"}},
	}
)

func fedoraPin(release, fingerprint string) pin {
	return pin{fingerprint, []string{
		keyCollection + "fedora/RPM-GPG-KEY-fedora-" + release + "-primary",
		keysOfHost + "fedora-" + release + "-primary",
	}}
}

// known are the distributions. Fedora 44 came out on 28 April 2026.
var known = []distro{
	{
		name: "fedora", title: "Fedora", standard: "44",
		releases: []string{rawhide, "45", "44", "43", "42"},
		pins:     fedoraPins,
		packages: []string{"basesystem", "dnf5", "fedora-release", "passwd"},
	},
	{
		name: "centos", title: "CentOS Stream", standard: "10", el: true,
		releases: []string{"10", "9"},
		pins:     map[string][]pin{"9": {centosPin, epelPins["9"]}, "10": {centosPin, epelPins["10"]}},
		packages: []string{"basesystem", "centos-stream-release", "dnf", "epel-release", "passwd"},
	},
	{
		name: "rocky", title: "Rocky Linux", standard: "10", el: true,
		releases: []string{"10", "9"},
		pins:     map[string][]pin{"9": {rockyPins["9"], epelPins["9"]}, "10": {rockyPins["10"], epelPins["10"]}},
		packages: []string{"basesystem", "dnf", "epel-release", "passwd", "rocky-release"},
	},
	{
		name: "almalinux", title: "AlmaLinux", standard: "10", el: true,
		releases: []string{"10", "9"},
		pins:     map[string][]pin{"9": {almaPins["9"], epelPins["9"]}, "10": {almaPins["10"], epelPins["10"]}},
		packages: []string{"almalinux-release", "basesystem", "dnf", "epel-release", "passwd"},
	},
}

// distroNames are the values of --distro.
func distroNames() []string {
	var names []string
	for _, d := range known {
		names = append(names, d.name)
	}
	return names
}

// find returns the distribution of a name.
func find(name string) (distro, bool) {
	i := slices.IndexFunc(known, func(d distro) bool { return d.name == name })
	if i < 0 {
		return distro{}, false
	}
	return known[i], true
}

// major is the part of a release before the point: 9 of 9.6.
func major(release string) string {
	before, _, _ := strings.Cut(release, ".")
	return before
}

// dbPath is where rpm of that release keeps its database: Enterprise Linux has
// moved it with release 10.
func (d distro) dbPath(release string) string {
	if d.el && len(major(release)) == 1 {
		return "/var/lib/rpm"
	}
	return "/usr/lib/sysimage/rpm"
}

// platform is the module platform of a release, which dnf would otherwise look
// for in a tree that does not have it yet.
func (d distro) platform(release string) string {
	switch {
	case d.el:
		return "platform:el" + major(release)
	case release == rawhide:
		return "platform:f46"
	}
	return "platform:f" + release
}

// basePackages is what a machine needs on each of them to boot, be on the network
// and be reached over SSH.
var basePackages = []string{
	"glibc-minimal-langpack", "hostname", "iproute", "openssh-server",
	"systemd", "systemd-networkd", "systemd-resolved", "util-linux",
}

// standardPackages is what people miss first in a minimal system.
var standardPackages = []string{"curl", "iputils", "less", "nano", "procps-ng"}
