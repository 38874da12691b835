package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// entry is a package in pacman's database.
type entry struct {
	sdk.Package

	provides []string // names, without versions
	groups   []string
}

// is reports whether the package is one that is asked for by this name.
func (e entry) is(name string) bool { return e.Name == name || slices.Contains(e.provides, name) }

// maxDesc is many times the size of any real description, in bytes.
const maxDesc = 1 << 20

// parseDesc reads the format of var/lib/pacman/local/NAME-VERSION/desc: a line
// %FIELD%, its values one a line, an empty line.
func parseDesc(r io.Reader) (entry, error) {
	var e entry
	field := ""
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxDesc)
	for in.Scan() {
		line := strings.TrimRight(in.Text(), "\r")
		switch {
		case line == "":
			field = ""
		case field == "":
			if len(line) > 2 && line[0] == '%' && line[len(line)-1] == '%' {
				field = line
			}
		default:
			e.set(field, line)
		}
	}
	if err := in.Err(); err != nil {
		return entry{}, err
	}
	if e.Name == "" || e.Version == "" {
		return entry{}, errors.New("it has no name or no version")
	}
	return e, nil
}

func (e *entry) set(field, value string) {
	switch field {
	case "%NAME%":
		e.Name = value
	case "%VERSION%":
		e.Version = value
	case "%ARCH%":
		e.Architecture = value
	case "%BASE%":
		e.Source, e.SourceVersion = value, e.Version
	case "%LICENSE%":
		if e.License != "" {
			e.License += " AND "
		}
		e.License += value
	case "%PROVIDES%":
		if i := strings.IndexAny(value, "<>="); i >= 0 {
			value = value[:i]
		}
		e.provides = append(e.provides, value)
	case "%GROUPS%":
		e.groups = append(e.groups, value)
	}
}

// databaseDirectory is pacman's in the tree.
const databaseDirectory = "var/lib/pacman"

// installed reads the database of the tree, sorted by name.
func (t tree) installed() ([]entry, error) {
	if _, err := t.Lstat(databaseDirectory + "/db.lck"); err == nil {
		return nil, errors.New("pacman was interrupted: its database is still locked")
	}
	local := databaseDirectory + "/local"
	directories, err := fs.ReadDir(t.FS(), local)
	if err != nil {
		return nil, fmt.Errorf("pacman's database: %w", err)
	}
	var entries []entry
	for _, d := range directories {
		if !d.IsDir() { // ALPM_DB_VERSION
			continue
		}
		f, err := t.Open(path.Join(local, d.Name(), "desc"))
		if err != nil {
			return nil, fmt.Errorf("pacman's database: %w", err)
		}
		e, err := parseDesc(io.LimitReader(f, maxDesc))
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("pacman's database: %s: %w", d.Name(), err)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// sortOut says of every asked for package what it is in the database: a package
// or something that one provides, the name of a group, or nothing.
func sortOut(asked []string, entries []entry) (packages, groups, missing []string) {
	for _, want := range asked {
		name := packageName(want)
		switch {
		case slices.ContainsFunc(entries, func(e entry) bool { return e.is(name) }):
			packages = append(packages, name)
		case slices.ContainsFunc(entries, func(e entry) bool { return slices.Contains(e.groups, name) }):
			groups = append(groups, want)
		default:
			missing = append(missing, want)
		}
	}
	return packages, groups, missing
}
