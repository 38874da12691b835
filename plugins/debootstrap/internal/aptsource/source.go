// Package aptsource reads and writes apt's lists of package sources, in the
// one-line and in the deb822 format (sources.list(5)), and finds in those of
// the host where it gets its own distribution from.
//
// It reads what a package manager trusts, but takes over only what it
// understands: a source with a scheme, an option or a character that it does
// not know is passed over and never passed on.
package aptsource

import (
	"path"
	"strings"
)

// Source is one entry of a list: every URI combined with every suite.
type Source struct {
	URIs       []string
	Suites     []string
	Components []string
	SignedBy   string // the path of a keyring; empty when it is anything else
	// Archived says that the dates of the release may have passed.
	Archived bool
}

// Render writes sources in the deb822 format, under a comment of one or more
// lines. The values must be without white space and control characters.
func Render(comment string, sources []Source) string {
	var b strings.Builder
	for line := range strings.Lines(comment) {
		b.WriteString("# " + strings.TrimRight(line, "\n") + "\n")
	}
	for i, s := range sources {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString("Types: deb\n")
		field(&b, "URIs", s.URIs)
		field(&b, "Suites", s.Suites)
		field(&b, "Components", s.Components)
		if s.SignedBy != "" {
			field(&b, "Signed-By", []string{s.SignedBy})
		}
		if s.Archived {
			field(&b, "Check-Valid-Until", []string{"no"})
		}
	}
	return b.String()
}

func field(b *strings.Builder, name string, values []string) {
	b.WriteString(name + ": " + strings.Join(values, " ") + "\n")
}

// keyringPath returns value when it is the absolute path of a keyring. A
// fingerprint or a key in place is not: apt takes it together with keyrings
// that the machine does not have.
func keyringPath(value string) string {
	value = strings.TrimSpace(value)
	if !path.IsAbs(value) || strings.ContainsAny(value, " \t\n,\"'\\[]") {
		return ""
	}
	return value
}

// IsSecurity reports whether uri is, by its name, that of an archive of
// security updates, such as http://mirror.example.org/debian-security.
func IsSecurity(uri string) bool {
	// An archive of old packages has the moment after the name.
	return strings.Contains(uri+"/", "-security/") || strings.HasPrefix(Host(uri), "security.")
}
