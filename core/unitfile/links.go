package unitfile

import (
	"path"
	"slices"
	"strings"
)

// UnitDirectory is where units are enabled, as the machine sees it.
const UnitDirectory = "/etc/systemd/system"

// Link is a symbolic link, both ends as the machine sees them. What is at Path
// in a tree that is not trusted can itself be a link that leads out of it.
type Link struct {
	Path   string
	Target string
}

// Links are the links that `systemctl enable name` makes for a unit whose file
// is at the path file: the template's for an instance. They are sorted, and
// every one lies directly in UnitDirectory or one directory below.
func Links(name, file string, in Install) ([]Link, error) {
	if err := checkUnit("enable", name); err != nil {
		return nil, err
	}
	if !path.IsAbs(file) || path.Clean(file) != file {
		return nil, &ValueError{"enable " + name, file, "is not an absolute path without . and .."}
	}
	links, err := aliases(name, file, in)
	if err != nil {
		return nil, err
	}
	for _, d := range []struct {
		directive, ending string
		by                []string
	}{
		{"WantedBy", ".wants", in.WantedBy},
		{"RequiredBy", ".requires", in.RequiredBy},
		{"UpheldBy", ".upholds", in.UpheldBy},
	} {
		pulled, err := pulledIn(name, file, in, d.directive, d.ending, d.by)
		if err != nil {
			return nil, err
		}
		links = append(links, pulled...)
	}
	slices.SortFunc(links, func(a, b Link) int { return strings.Compare(a.Path, b.Path) })
	return slices.Compact(links), nil
}

// pulledIn are the links by which other units pull this one in.
func pulledIn(name, file string, in Install, directive, ending string, by []string) ([]Link, error) {
	n := splitUnit(name)
	if n.template() {
		n.instance = in.DefaultInstance
		if err := checkUnit("DefaultInstance", n.String()); err != nil {
			return nil, err
		}
	}
	var links []Link
	for _, text := range by {
		other, err := in.expand(directive, text, name)
		if err != nil {
			return nil, err
		}
		if n.template() && !splitUnit(other).at {
			return nil, &ValueError{directive, other, "cannot pull in " + name + ": it has no instance"}
		}
		links = append(links, Link{Path: path.Join(UnitDirectory, other+ending, n.String()), Target: file})
	}
	return links, nil
}

// aliases are the links by which the unit is known under other names.
func aliases(name, file string, in Install) ([]Link, error) {
	n := splitUnit(name)
	var links []Link
	for _, text := range in.Alias {
		alias, err := in.expand("Alias", text, name)
		if err != nil {
			return nil, err
		}
		a := splitUnit(alias)
		if a.template() && n.instance != "" {
			a.instance = n.instance
		}
		switch {
		case a.String() == name:
			continue
		case a.suffix != n.suffix || a.at != n.at || (n.instance != "" && a.instance != n.instance):
			return nil, &ValueError{"Alias", alias, "cannot stand for " + name}
		}
		links = append(links, Link{Path: path.Join(UnitDirectory, a.String()), Target: file})
	}
	return links, nil
}
