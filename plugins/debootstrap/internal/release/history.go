package release

// What follows concerns releases that are out of support or out of change.
// None of these tables grows: a release that is not in them is a newer one.

// resolvedInside are the releases whose systemd package brings
// systemd-resolved with it; in all later ones it is a package of its own
// (Debian from 12, Ubuntu from 22.10).
var resolvedInside = map[string]map[string]bool{
	Debian: set("wheezy", "jessie", "stretch", "buster", "bullseye", "oldoldstable"),
	Ubuntu: set("trusty", "xenial", "bionic", "cosmic", "disco", "eoan", "focal", "groovy", "hirsute",
		"impish", "jammy"),
}

// ancient are the releases that systemd-nspawn of today no longer boots.
var ancient = map[string]map[string]bool{
	Debian: set("etch", "etch-m68k", "lenny", "squeeze", "wheezy", "jessie", "jessie-kfreebsd"),
	Ubuntu: set("gutsy", "hardy", "intrepid", "jaunty", "karmic", "lucid", "maverick", "natty",
		"oneiric", "precise", "quantal", "raring", "saucy", "trusty", "utopic", "vivid", "wily"),
}

// plainDirectories are the releases that were installed with /bin apart from
// /usr/bin.
var plainDirectories = map[string]map[string]bool{
	Debian: set("stretch", "buster"),
	Ubuntu: set("xenial", "yakkety", "zesty", "artful", "bionic", "cosmic"),
}

// securityByComponent are the releases of Debian whose security suite is
// called RELEASE/updates.
var securityByComponent = set("wheezy", "jessie", "stretch", "buster")

// Ancient reports whether the release is too old to be made.
func Ancient(distro, codename string) bool { return ancient[distro][codename] }

// ResolvedApart reports whether systemd-resolved is a package of its own.
func ResolvedApart(distro, codename string) bool {
	return !resolvedInside[distro][codename] && !ancient[distro][codename]
}

// MergedUsr reports whether /bin, /sbin and /lib are links into /usr.
func MergedUsr(distro, codename string) bool {
	return !plainDirectories[distro][codename] && !ancient[distro][codename]
}

// UsrIsMerged reports whether the release has an empty package usr-is-merged
// that says so, and would otherwise install the one that converts a tree.
func UsrIsMerged(distro, codename string) bool {
	return distro == Debian && codename == "bookworm"
}

// SecuritySuite returns the suite with the security updates of suite, and ""
// where there is none.
func SecuritySuite(distro, suite string) string {
	switch {
	case distro == Debian && (suite == "sid" || suite == "unstable"):
		return ""
	case distro == Debian && securityByComponent[suite]:
		return suite + "/updates"
	}
	return suite + "-security"
}

// UpdatesSuite returns the suite with the other updates of suite, and "" where
// there is none.
func UpdatesSuite(distro, suite string) string {
	if distro == Debian && (suite == "sid" || suite == "unstable") {
		return ""
	}
	return suite + "-updates"
}

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, name := range names {
		m[name] = true
	}
	return m
}
