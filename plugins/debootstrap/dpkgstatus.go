package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// entry is a package in dpkg's database.
type entry struct {
	sdk.Package

	state    string   // the last word of Status: installed
	provides []string // the virtual packages that it stands for
}

// parseStatus reads the format of /var/lib/dpkg/status. The database is read
// here and not by dpkg-query because a host with debootstrap may have none.
func parseStatus(r io.Reader) ([]entry, error) {
	var entries []entry
	var now entry
	finish := func() {
		if now.Name != "" {
			entries = append(entries, now)
		}
		now = entry{}
	}
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadString('\n')
		trimmed := strings.TrimRight(line, "\r\n")
		if trimmed == "" {
			finish()
		}
		name, value, ok := strings.Cut(trimmed, ":")
		if ok && name != "" && name[0] != ' ' && name[0] != '\t' {
			now.set(name, strings.TrimSpace(value))
		}
		if errors.Is(err, io.EOF) {
			finish()
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("dpkg's database: %w", err)
		}
	}
}

func (e *entry) set(name, value string) {
	switch name {
	case "Package":
		e.Name = value
	case "Version":
		e.Version = value
	case "Architecture":
		e.Architecture = value
	case "Source": // NAME, or NAME (VERSION) where that is another
		e.Source, e.SourceVersion, _ = strings.Cut(value, " ")
		e.SourceVersion = strings.Trim(e.SourceVersion, "()")
	case "Status":
		if words := strings.Fields(value); len(words) > 0 {
			e.state = words[len(words)-1]
		}
	case "Provides":
		for provided := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(provided), " ")
			e.provides = append(e.provides, name)
		}
	}
}

// installed reads the database of the tree and makes sure that every package
// in it is whole.
func (t tree) installed() ([]entry, error) {
	// dpkg notes changes there before it writes them to the database.
	pending, err := fs.ReadDir(t.FS(), "var/lib/dpkg/updates")
	if err == nil && len(pending) > 0 {
		return nil, errors.New("dpkg was interrupted: it has updates of its database pending")
	}
	f, err := t.Open("var/lib/dpkg/status")
	if err != nil {
		return nil, fmt.Errorf("dpkg's database: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	entries, err := parseStatus(io.LimitReader(f, 256<<20))
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool {
		return e.state == "not-installed" || e.state == "config-files"
	})
	for _, e := range entries {
		if e.state != "installed" {
			return nil, fmt.Errorf("the package %s is not installed but %s", e.Name, e.state)
		}
	}
	return entries, nil
}

// packageParts takes a package as it is asked for apart.
var packageParts = regexp.MustCompile(`^([^:=]+)(?::([^=]+))?(?:=(.+))?$`)

// missingPackages lists those of the asked for packages that are not there.
func missingPackages(asked []string, entries []entry) []string {
	var missing []string
	for _, want := range asked {
		m := packageParts.FindStringSubmatch(want)
		there := m != nil && slices.ContainsFunc(entries, func(e entry) bool {
			return (e.Name == m[1] || slices.Contains(e.provides, m[1])) &&
				(m[2] == "" || e.Architecture == m[2] || e.Architecture == "all") &&
				(m[3] == "" || e.Version == m[3])
		})
		if !there {
			missing = append(missing, want)
		}
	}
	return missing
}
