package testrepo

import (
	"regexp"
	"strings"
)

// version is that of a package in pacman's and RPM's terms; the release, which
// is 1 everywhere, is not part of it.
type version struct{ epoch, upstream string }

var notInVersions = regexp.MustCompile(`[^A-Za-z0-9.+_]`)

// parseVersion makes it of a Debian version, [epoch:]upstream[-revision]. The
// revision goes, and so does what follows a "~", which pacman has no notion of.
func parseVersion(debian string) version {
	epoch, rest, ok := strings.Cut(debian, ":")
	if !ok {
		epoch, rest = "", debian
	}
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		rest = rest[:i]
	}
	rest, _, _ = strings.Cut(rest, "~")
	if epoch == "0" {
		epoch = ""
	}
	return version{epoch, notInVersions.ReplaceAllString(rest, ".")}
}

func (v version) String() string {
	if v.epoch == "" {
		return v.upstream
	}
	return v.epoch + ":" + v.upstream
}

// operators gives those of Debian in pacman's and RPM's terms. The strict ones
// are not kept: without revisions, what was smaller may now be equal.
var operators = map[string]string{">=": ">=", "<=": "<=", "=": "=", ">>": ">=", "<<": "<=", "": ""}
