package aptsource

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Archive says where a distribution is to be had.
type Archive struct {
	URI              string
	SignedBy         string // the keyring that the sources name for it, if any
	Security         string // of the security updates; empty when not known
	SecuritySignedBy string
}

// ReadHost reads the sources of the host whose root is fsys, in the order in
// which apt does. A file that cannot be read or parsed adds nothing.
func ReadHost(fsys fs.FS) []Source {
	var sources []Source
	read := func(name string, parse func(io.Reader) ([]Source, error)) {
		f, err := fsys.Open(name)
		if err != nil {
			return
		}
		defer f.Close() //nolint:errcheck // only read from
		if more, err := parse(io.LimitReader(f, 4<<20)); err == nil {
			sources = append(sources, more...)
		}
	}
	read("etc/apt/sources.list", ParseList)
	entries, err := fs.ReadDir(fsys, "etc/apt/sources.list.d")
	if err != nil {
		return sources
	}
	for _, entry := range entries {
		name := path.Join("etc/apt/sources.list.d", entry.Name())
		switch path.Ext(name) {
		case ".list":
			read(name, ParseList)
		case ".sources":
			read(name, ParseStanzas)
		}
	}
	return sources
}

// FindArchive finds the archive of a distribution in sources, by the suites
// that the distribution has: its codename and aliases. Third parties name their
// suites after it too, so the likeliest wins: one that is signed by the
// distribution's keyring, and that has the suite of updates beside.
func FindArchive(sources []Source, distro string, suites []string) Archive {
	var found Archive
	best := likely - 1
	for _, s := range sources {
		if !slices.Contains(s.Components, "main") {
			continue
		}
		for _, suite := range s.Suites {
			suite = strings.TrimSuffix(suite, "/")
			if !slices.Contains(suites, suite) || IsSecurity(s.URIs[0]) {
				continue
			}
			if score := likeness(s, sources, distro, suite); score > best {
				best = score
				found.URI, found.SignedBy = s.URIs[0], s.SignedBy
			}
		}
	}
	if found.URI == "" {
		return Archive{}
	}
	for _, s := range sources {
		for _, suite := range suites {
			named := slices.Contains(s.Suites, suite+"-security") || slices.Contains(s.Suites, suite+"/updates")
			if named && slices.Contains(s.Components, "main") && found.Security == "" {
				found.Security, found.SecuritySignedBy = s.URIs[0], s.SignedBy
			}
		}
	}
	found.URI, found.Security = trim(found.URI), trim(found.Security)
	return found
}

func trim(uri string) string { return strings.TrimRight(uri, "/") }

// likely is the least likeness that is taken: somebody else's key, or none,
// needs something beside that speaks for the distribution.
const likely = 4

// likeness says how much s looks like the distribution's own archive.
func likeness(s Source, all []Source, distro, suite string) int {
	score := 1
	switch {
	case strings.Contains(path.Base(s.SignedBy), distro+"-archive-"):
		score += 8
	case s.SignedBy != "":
		score++ // a mirror that signs anew, or a third party
	default:
		score += 2
	}
	hasUpdates := slices.ContainsFunc(all, func(other Source) bool {
		return slices.Equal(other.URIs, s.URIs) && slices.Contains(other.Suites, suite+"-updates")
	})
	if hasUpdates {
		score += 4
	}
	if strings.Contains(trim(s.URIs[0])+"/", "/"+distro+"/") {
		score++
	}
	return score
}
