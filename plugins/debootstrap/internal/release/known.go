package release

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Where the host keeps what it knows.
const (
	tableDirectory  = "usr/share/distro-info"
	scriptDirectory = "usr/share/debootstrap/scripts"
)

// Known is what this host knows of one distribution's releases.
type Known struct {
	Distro   string
	Releases []Release // oldest first; empty without distro-info-data
	Scripts  []string  // the releases that debootstrap has a script for
	Today    time.Time
}

// Read collects what the host whose root is fsys knows. What is not installed
// or not readable adds nothing.
func Read(fsys fs.FS, distro string, today time.Time) Known {
	k := Known{Distro: distro, Today: today}
	if f, err := fsys.Open(path.Join(tableDirectory, distro+".csv")); err == nil {
		defer f.Close() //nolint:errcheck // only read from
		if releases, err := ParseTable(f); err == nil {
			k.Releases = releases
		}
	}
	slices.SortStableFunc(k.Releases, func(a, b Release) int {
		return strings.Compare(order(a), order(b))
	})
	k.Scripts = scripts(fsys, distro)
	return k
}

// order sorts by the day of creation, and what is never released last.
func order(r Release) string {
	if r.Version == "" {
		return "~" + r.Codename
	}
	return r.Created.Format(time.DateOnly)
}

// BaseScript is the script of debootstrap that all current releases of the
// distribution share. It serves those that are newer than the tool too.
func BaseScript(distro string) string {
	if distro == Ubuntu {
		return "gutsy"
	}
	return "sid"
}

// scripts lists the scripts that are, through links, the distribution's.
func scripts(fsys fs.FS, distro string) []string {
	entries, err := fs.ReadDir(fsys, scriptDirectory)
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		name := entry.Name()
		for range 4 { // hirsute -> groovy -> gutsy
			if name == BaseScript(distro) {
				names = append(names, entry.Name())
				break
			}
			target, err := fs.ReadLink(fsys, path.Join(scriptDirectory, name))
			if err != nil {
				break
			}
			name = path.Base(target)
		}
	}
	return names
}

// aliases of Debian's that follow the releases. Ubuntu has none.
var aliases = []string{"stable", "testing", "unstable", "oldstable"}

// Empty reports whether the host knows nothing at all.
func (k Known) Empty() bool { return len(k.Releases) == 0 && len(k.Scripts) == 0 }

// Has reports whether name is a release or an alias that the host knows.
func (k Known) Has(name string) bool {
	return k.Codename(name) != "" || slices.Contains(k.Scripts, name) ||
		k.Distro == Debian && slices.Contains(aliases, name)
}

// Codename returns what name stands for: the codename of an alias, name itself
// when it is a codename in the table, and "" when the table does not say.
func (k Known) Codename(name string) string {
	if k.Distro == Debian {
		switch name {
		case "stable":
			return k.stable(0)
		case "oldstable":
			return k.stable(1)
		case "testing":
			return k.testing()
		case "unstable":
			return "sid"
		}
	}
	for _, r := range k.Releases {
		if r.Codename == name && name != "experimental" {
			return name
		}
	}
	return ""
}

// stable returns the codename of the release that is back releases behind the
// newest that is out.
func (k Known) stable(back int) string {
	for _, r := range slices.Backward(k.Releases) {
		if !r.released(k.Today) {
			continue
		}
		if back == 0 {
			return r.Codename
		}
		back--
	}
	return ""
}

// testing returns the codename of the release that is being made.
func (k Known) testing() string {
	for _, r := range k.Releases {
		if r.Version != "" && !r.released(k.Today) && !r.Created.After(k.Today) {
			return r.Codename
		}
	}
	return ""
}

// Version returns the version of the release called codename: 13, 24.04 LTS.
func (k Known) Version(codename string) string {
	for _, r := range k.Releases {
		if r.Codename == codename {
			return r.Version
		}
	}
	return ""
}

// Default returns the release to make when none is asked for: Debian's stable
// and Ubuntu's newest with long support. Without a table Debian's is the alias,
// which the mirror resolves, and Ubuntu has none.
func (k Known) Default() string {
	if k.Distro == Debian {
		if codename := k.Codename("stable"); codename != "" {
			return codename
		}
		return "stable"
	}
	for _, r := range slices.Backward(k.Releases) {
		if r.LTS() && r.released(k.Today) {
			return r.Codename
		}
	}
	return ""
}

// Names lists what can be asked for, the newest first: the releases that the
// archive still serves, then the aliases.
func (k Known) Names() []string {
	var names []string
	for _, r := range slices.Backward(k.Releases) {
		if r.supported(k.Today) && r.Codename != "experimental" {
			names = append(names, r.Codename)
		}
	}
	if len(k.Releases) == 0 {
		names = slices.DeleteFunc(slices.Clone(k.Scripts), func(name string) bool {
			return slices.Contains(aliases, name) || name == "oldoldstable" || ancient[k.Distro][name]
		})
	}
	if k.Distro == Debian {
		names = append(names, aliases...)
	}
	return names
}

// Released reports whether the release called codename is known to be out.
func (k Known) Released(codename string) bool {
	return slices.ContainsFunc(k.Releases, func(r Release) bool {
		return r.Codename == codename && r.released(k.Today)
	})
}
