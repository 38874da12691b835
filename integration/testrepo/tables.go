package testrepo

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

//go:embed data
var embedded embed.FS

// What the repositories are of: a release of Fedora, and a day of openSUSE
// Tumbleweed.
const (
	FedoraRelease   = "43"
	OpenSUSERelease = "20261101"
)

// alike names the distribution whose tables another has, but for what its own say.
var alike = map[string]string{"opensuse": "fedora"}

// layers are the directories of data that a distribution is made of, the later
// over the earlier ones.
func layers(distribution string) []string {
	all := []string{"common"}
	if like := alike[distribution]; like != "" {
		all = append(all, like)
	}
	return append(all, distribution)
}

// tables say how a distribution's packages are made of Debian's.
type tables struct {
	repositories []repository
	rules        map[string]rule // by the name of the package
	drop         []string
	prune        *regexp.Regexp
	files        map[string][]byte // what data holds, by path
}

// repository is one repository of a distribution, and the packages that it is
// there for; it holds what they depend on as well.
type repository struct {
	name     string
	packages []string
}

// rule is one stanza of a file named packages. All lists are separated by
// blanks, except Provides, by commas.
type rule struct {
	Package    string
	Instead    []string       // rules of the layer below that it takes the place of
	Debs       []string       // what it is made of; the first one's version is its version
	Version    string         // of a package that no Debian package corresponds to
	From       string         // the package that it is split off from
	Take       *regexp.Regexp // the paths that it takes from there
	Bare       bool           // it depends on nothing but Depends
	Only       []string       // the top-level directories that are kept of its debs
	Depends    []string       // beside what its debs depend on
	Provides   []string
	Config     []string // files that an upgrade keeps
	Files      []string // archives of files beside the one of its own name
	Remove     []string // patterns of paths that are not kept
	Copy       []string // from, to
	Substitute []string // file, old text, new text
}

// readTables reads the tables of a distribution, one of distributions.
func readTables(distribution string) (*tables, error) {
	t := &tables{rules: map[string]rule{}, files: map[string][]byte{}, drop: readList("drop.list")}
	t.prune = pruned(readList("prune.list"))
	release := distributions[distribution].release
	err := fs.WalkDir(embedded, "data", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := embedded.ReadFile(name)
		t.files[strings.TrimPrefix(name, "data/")] = []byte(strings.ReplaceAll(string(text), "@RELEASE@", release))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the tables: %w", err)
	}
	for _, dir := range layers(distribution) {
		if err := t.parse(string(t.files[dir+"/packages"])); err != nil {
			return nil, fmt.Errorf("data/%s/packages: %w", dir, err)
		}
	}
	return t, nil
}

// parse reads stanzas of "Key: value" lines.
func (t *tables) parse(text string) error {
	for stanza := range strings.SplitSeq(text, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(stanza) {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			key, value, ok := strings.Cut(line, ": ")
			if !ok {
				return fmt.Errorf("%q is no field", line)
			}
			fields[key] = value
		}
		if len(fields) == 0 {
			continue
		}
		if err := t.add(fields); err != nil {
			return err
		}
	}
	return nil
}

func (t *tables) add(fields map[string]string) error {
	take := func(key string) string {
		v := fields[key]
		delete(fields, key)
		return v
	}
	words := func(key string) []string { return strings.Fields(take(key)) }
	if name := take("Repository"); name != "" {
		if take("Instead") == "all" { // of the layer below
			t.repositories = nil
		}
		t.repositories = append(t.repositories, repository{name, words("Packages")})
		return unknown(fields)
	}
	r := rule{
		Package: take("Package"), Instead: words("Instead"), Debs: words("Debs"), Version: take("Version"), From: take("From"),
		Bare: take("Bare") == "yes", Only: words("Only"), Depends: words("Depends"), Config: words("Config"),
		Files: words("Files"), Remove: words("Remove"), Copy: words("Copy"), Substitute: words("Substitute"),
	}
	if provides := take("Provides"); provides != "" {
		r.Provides = strings.Split(provides, ", ")
	}
	if pattern := take("Take"); pattern != "" {
		var err error
		if r.Take, err = regexp.Compile(pattern); err != nil {
			return fmt.Errorf("%s: Take: %w", r.Package, err)
		}
	}
	switch {
	case r.Package == "":
		return errors.New("a stanza names no package")
	case len(r.Debs) == 0 && r.Version == "" && r.Take == nil:
		return fmt.Errorf("%s: made of nothing: one of Debs, Version and Take is needed", r.Package)
	case len(r.Copy)%2 != 0 || len(r.Substitute)%3 != 0:
		return fmt.Errorf("%s: Copy takes pairs, Substitute threes", r.Package)
	}
	for _, name := range r.Instead {
		if _, ok := t.rules[name]; !ok {
			return fmt.Errorf("%s: Instead: there is no rule for %s below", r.Package, name)
		}
		delete(t.rules, name)
	}
	t.rules[r.Package] = r
	return unknown(fields)
}

func unknown(fields map[string]string) error {
	for key := range fields {
		return fmt.Errorf("there is no field %q", key)
	}
	return nil
}

// content is every table in one string, for the key of the cache.
func (t *tables) content(distribution string) string {
	var names []string
	for name := range t.files {
		if dir := path.Dir(name); dir == "." || slices.Contains(layers(distribution), dir) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var all strings.Builder
	for _, name := range names {
		all.WriteString(name + "\x00" + string(t.files[name]) + "\x00")
	}
	return all.String()
}

// readList reads a file of data that has one entry in a line.
func readList(name string) []string {
	text, err := embedded.ReadFile("data/" + name)
	if err != nil {
		panic(err) // it is part of this program
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// pruned matches the paths, relative and clean, that no package keeps.
func pruned(patterns []string) *regexp.Regexp {
	return regexp.MustCompile(`^(?:` + strings.Join(patterns, "|") + `)(?:/|$)`)
}
