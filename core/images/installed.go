package images

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// Scripts install packages of which no plugin tells, and trees come without a
// manifest. Databases of packages that are text are read here, whatever
// distribution they are of; those of rpm are not, for which the plugin's word
// stands.
const databaseLimit = 256 << 20

// installed lists the packages of a tree by its own databases; known is false
// where it has none that is read.
func installed(tree *rootfs.Tree) (all []sdk.Package, known bool, err error) {
	data, err := tree.ReadFile("var/lib/dpkg/status", databaseLimit)
	if err == nil {
		return dpkgPackages(string(data)), true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	entries, err := tree.ReadDir("var/lib/pacman/local")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		data, err := tree.ReadFile("var/lib/pacman/local/"+e.Name()+"/desc", 1<<20)
		if err != nil {
			return nil, false, err
		}
		all = append(all, alpmPackage(string(data)))
	}
	return all, true, nil
}

// dpkgPackages reads /var/lib/dpkg/status: paragraphs of fields, see deb822(5).
func dpkgPackages(status string) []sdk.Package {
	var all []sdk.Package
	for paragraph := range strings.SplitSeq(status, "\n\n") {
		var p sdk.Package
		present := false
		for line := range strings.Lines(paragraph) {
			field, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ": ")
			switch field {
			case "Package":
				p.Name = value
			case "Version":
				p.Version = value
			case "Architecture":
				p.Architecture = value
			case "Source":
				name, version, given := strings.Cut(value, " ")
				if p.Source = name; given {
					p.SourceVersion = strings.Trim(version, "()")
				}
			case "Status":
				present = strings.HasSuffix(value, " installed")
			}
		}
		if p.Name != "" && present {
			all = append(all, p)
		}
	}
	return all
}

// alpmPackage reads the desc file of a package: a name between percent signs,
// and its values below.
func alpmPackage(desc string) sdk.Package {
	var p sdk.Package
	lines := strings.Split(desc, "\n")
	for i, line := range lines[:max(0, len(lines)-1)] {
		value := strings.TrimSpace(lines[i+1])
		switch line {
		case "%NAME%":
			p.Name = value
		case "%VERSION%":
			p.Version = value
		case "%ARCH%":
			p.Architecture = value
		case "%BASE%":
			p.Source = value
		case "%LICENSE%":
			p.License = value
		}
	}
	return p
}

// merged is what is installed, with what the plugin tells of it.
func merged(installed, told []sdk.Package) []sdk.Package {
	all := slices.Clone(installed)
	for i, p := range all {
		for _, t := range told {
			if t.Name == p.Name && t.Version == p.Version && (t.Architecture == p.Architecture || t.Architecture == "" || p.Architecture == "") {
				all[i] = t
				break
			}
		}
	}
	return all
}
