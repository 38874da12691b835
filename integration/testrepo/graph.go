package testrepo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// pack is a package of the repository that is made.
type pack struct {
	rule
	debs       []deb
	version    version
	any        bool // it is for every architecture
	summary    string
	url        string
	depends    []dependency
	repository string
	scripts    []script // what txtar archives had beside files
}

// dependency is one of a package on another; op and version may be empty.
type dependency struct {
	name, op string
	version  version
}

// last is what every package depends on that depends on nothing else.
const last = "filesystem"

// plan makes of Debian's packages the distribution's, with those dependencies
// that lead to packages of it, and keeps what its repositories are there for.
func plan(t *tables, available map[string]deb) ([]*pack, error) {
	g := graph{tables: t, available: maps.Clone(available), owner: map[string]string{}, virtual: map[string]string{}, packs: map[string]*pack{}}
	for _, name := range t.drop {
		delete(g.available, name)
	}
	names := slices.Sorted(maps.Keys(g.available))
	for _, r := range t.rules {
		for _, d := range r.Debs {
			g.owner[d] = r.Package
		}
	}
	for _, name := range names {
		for _, provided := range g.available[name].provides {
			if _, ok := g.virtual[provided]; !ok {
				g.virtual[provided] = name
			}
		}
	}
	for _, name := range names {
		g.addDeb(g.available[name])
	}
	for _, name := range slices.Sorted(maps.Keys(t.rules)) {
		if err := g.addRule(t.rules[name]); err != nil {
			return nil, err
		}
	}
	for _, p := range g.packs {
		g.finish(p)
	}
	return g.reachable()
}

type graph struct {
	*tables
	available map[string]deb
	owner     map[string]string // which package a deb is in, by the rules
	virtual   map[string]string // which deb provides a name
	packs     map[string]*pack
}

// target is the package that a deb becomes part of.
func (g *graph) target(deb string) string {
	if name, ok := g.owner[deb]; ok {
		return name
	}
	return deb
}

// first tells whether a deb gives its package the version.
func (g *graph) first(deb string) bool {
	r, ok := g.rules[g.target(deb)]
	return !ok || r.Debs[0] == deb
}

func (g *graph) addDeb(d deb) {
	name := g.target(d.name)
	p := g.packs[name]
	if p == nil {
		p = &pack{rule: rule{Package: name}, any: true}
		if r, ok := g.rules[name]; ok {
			p.rule = r
		}
		g.packs[name] = p
	}
	p.debs = append(p.debs, d)
	p.any = p.any && d.arch == "all"
	if len(p.debs) == 1 || g.first(d.name) {
		p.version, p.summary, p.url = parseVersion(d.version), d.summary, d.homepage
	}
	if !p.Bare && !slices.Contains(g.alone(), d.name) {
		p.depends = append(p.depends, g.dependencies(d, name)...)
	}
}

// alone are the debs that were fetched without their dependencies.
func (g *graph) alone() []string {
	_, alone := splitList(readList("debs.list"))
	return alone
}

// dependencies translates those of a deb. Of alternatives the first that is
// there is taken; what is not there at all is a dropped package.
func (g *graph) dependencies(d deb, self string) []dependency {
	var all []dependency
	for _, alternatives := range d.depends {
		for _, r := range alternatives {
			real := r.name
			if _, ok := g.available[real]; !ok {
				real = g.virtual[r.name]
			}
			if real == "" {
				continue
			}
			if name := g.target(real); name != self {
				dep := dependency{name: name}
				// A version is that of the package only for the deb that it has it from.
				if r.op != "" && real == r.name && g.first(real) {
					dep.op, dep.version = operators[r.op], parseVersion(r.version)
				}
				all = append(all, dep)
			}
			break
		}
	}
	return all
}

// addRule adds a package that no deb corresponds to.
func (g *graph) addRule(r rule) error {
	switch {
	case r.Version != "":
		g.packs[r.Package] = &pack{rule: r, any: true, version: version{"", r.Version}}
	case r.From != "":
		from := g.packs[r.From]
		if from == nil {
			return fmt.Errorf("%s is to be split off from %s, which is not there", r.Package, r.From)
		}
		p := &pack{rule: r, version: from.version, any: from.any, summary: from.summary, url: from.url}
		p.depends = []dependency{{r.From, "=", from.version}}
		g.packs[r.Package] = p
	default:
		for _, d := range r.Debs {
			if _, ok := g.available[d]; !ok {
				return fmt.Errorf("%s is made of %s, which is not there", r.Package, d)
			}
		}
	}
	return nil
}

// finish adds the dependencies of the rule, and keeps of each name and
// operator one, and of a name without a version none when there is one with.
func (g *graph) finish(p *pack) {
	p.summary = cmp.Or(p.summary, p.Package)
	p.url = cmp.Or(p.url, "https://example.org/")
	for _, name := range p.Depends {
		p.depends = append(p.depends, dependency{name: name})
	}
	type key struct{ name, op string }
	kept, versioned := map[key]dependency{}, map[string]bool{}
	for _, d := range p.depends {
		kept[key{d.name, d.op}] = d
		versioned[d.name] = versioned[d.name] || d.op != ""
	}
	p.depends = nil
	for k, d := range kept {
		if k.op != "" || !versioned[k.name] {
			p.depends = append(p.depends, d)
		}
	}
	slices.SortFunc(p.depends, func(a, b dependency) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.op, b.op))
	})
	if len(p.depends) == 0 && !p.Bare {
		p.depends = []dependency{{name: last}}
	}
}

// reachable are the packages that the repositories are there for, and all that
// these depend on, by name. Each is in the first repository that needs it.
func (g *graph) reachable() ([]*pack, error) {
	var all []*pack
	for _, r := range g.repositories {
		todo := slices.Clone(r.packages)
		for len(todo) > 0 {
			name := todo[0]
			todo = todo[1:]
			p := g.packs[name]
			if p == nil {
				return nil, fmt.Errorf("there is no package %s", name)
			}
			if p.repository != "" {
				continue
			}
			p.repository = r.name
			all = append(all, p)
			for _, d := range p.depends {
				todo = append(todo, d.name)
			}
		}
	}
	slices.SortFunc(all, func(a, b *pack) int { return cmp.Compare(a.Package, b.Package) })
	return all, nil
}
