package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// cross makes the jobs of the grid: for each distribution its releases, for each
// release the variants.
func (r *matrixReader) cross() {
	variants := r.variants
	if len(variants) == 0 {
		variants = []layer{{}}
	}
	for i, d := range r.distros {
		releases := r.releases[i]
		if len(releases) == 0 {
			releases = []part{{}}
		}
		for _, release := range releases {
			for _, v := range variants {
				at := cell{d.cell.distro, release.text, v.name}
				if r.excluded(at) {
					continue
				}
				j := &Job{Variant: v.name, Base: v.base}
				if v.base != "" {
					j.base = r.baseAt(v)
				}
				j.Wish = r.grown(j, at, d, v)
				r.place(j, "distro", r.placeOf(d, "distro"), at.distro)
				if release.text != "" {
					r.place(j, "release", release.at, at.release)
				}
				r.add(j, "", r.placeOf(d, "distro"))
			}
		}
	}
}

// grown is what the layers of the grid and the overrides say of a job. What a
// base has had done to it by the layers that it shares is not done again.
func (r *matrixReader) grown(j *Job, at cell, distro, variant layer) *Wish {
	w := r.over(nil, r.defaults)
	w = r.over(w, distro)
	own := []layer{variant}
	for _, o := range r.overrides {
		if o.cell.covers(at) {
			own = append(own, o)
			if o.base != "" {
				j.Base, j.base = o.base, r.baseAt(o)
			}
		}
	}
	if j.Base != "" {
		w = w.without([]string{"packages", "customize.copy", "customize.script", "customize.hook"})
	}
	for _, l := range own {
		if l.entries != nil {
			w = r.over(w, l)
		}
	}
	return w
}

func (*matrixReader) baseAt(l layer) value {
	e := l.said["base"]
	return value{key: e.at, at: nodePlace(e.value)}
}

// covers reports whether all that c says is said by at too.
func (c cell) covers(at cell) bool {
	return (c.distro == "" || c.distro == at.distro) && (c.release == "" || c.release == at.release) && (c.variant == "" || c.variant == at.variant)
}

func (r *matrixReader) excluded(at cell) bool {
	return slices.ContainsFunc(r.exclude, func(l layer) bool { return l.cell != cell{} && l.cell.covers(at) })
}

// place has a job say its distribution or release, which stands elsewhere.
func (*matrixReader) place(j *Job, key string, at place, text string) {
	*pointer[string](fieldOf(key).at(j.Wish)) = text
	j.Wish.said[key] = value{key: at, at: at}
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// add names a job, by its place in the grid unless it has a name.
func (r *matrixReader) add(j *Job, name string, at place) {
	if r.tooMany() {
		return
	}
	of := cell{j.Wish.Input.Distro, j.Wish.Input.Release, j.Variant}
	j.Name = name
	if name == "" {
		j.Name = strings.Trim(notInName.ReplaceAllString(of.String(), "-"), "-.")
	}
	j.Wish.Input.Name, j.Wish.start = j.Name, at
	j.Wish.said["name"] = value{key: at, at: at}
	for _, other := range r.jobs {
		if other.Name == j.Name {
			r.note(at, "name", j.Name, "is the name of another image of the matrix", "write each distribution, release and variant once; a name: of an include is its own")
			return
		}
	}
	r.jobs = append(r.jobs, j)
}

// adjust says of what excludes and overrides that it is about nothing: that is
// a word that was written wrong.
func (r *matrixReader) adjust() {
	for _, l := range r.exclude {
		about := func() bool {
			for i, d := range r.distros {
				releases := append([]part{{}}, r.releases[i]...)
				for _, release := range releases {
					for _, v := range append([]layer{{}}, r.variants...) {
						if l.cell.covers(cell{d.cell.distro, release.text, v.name}) {
							return true
						}
					}
				}
			}
			return false
		}
		switch {
		case l.cell == cell{}:
			r.note(l.at, "exclude", "", "does not say what", "give distro, release or variant")
		case !about():
			r.note(l.at, "exclude", l.cell.String(), "is nothing of the matrix", "compare it with distros and variants")
		}
	}
	for _, l := range r.overrides {
		switch {
		case l.cell == cell{}:
			r.note(l.at, "override", "", "does not say of what", "give distro, release or variant; what is said of all goes under defaults")
		case !slices.ContainsFunc(r.jobs, l.cell.holds):
			r.note(l.at, "override", l.cell.String(), "is nothing of the matrix", "compare it with distros and variants")
		}
	}
	if len(r.jobs) == 0 && len(r.includes) == 0 {
		r.note(place{1, 1}, "exclude", "", "leaves nothing", "exclude less")
	}
}

// include adds single images. They have the defaults, and what is said of their
// distribution and variant where the grid has those.
func (r *matrixReader) include() {
	for _, l := range r.includes {
		if l.cell.distro == "" {
			r.note(l.at, "distro", "", "is not given", "write distro: debian")
			continue
		}
		if _, e := ParseName(l.name); e != nil && l.name != "" {
			e.Hint = `use 1 to 64 letters, digits, "-" or "."`
			r.note(r.placeOf(l, "name"), "name", l.name, e.Problem, e.Hint)
			continue
		}
		var distro, variant layer
		if i := slices.IndexFunc(r.distros, func(d layer) bool { return d.cell.distro == l.cell.distro }); i >= 0 {
			distro = r.distros[i]
		}
		if i := slices.IndexFunc(r.variants, func(v layer) bool { return v.name == l.cell.variant }); i >= 0 {
			variant = r.variants[i]
		} else if l.cell.variant != "" && !variantForm.MatchString(l.cell.variant) {
			r.note(r.placeOf(l, "variant"), "variant", l.cell.variant, "is not the name of a variant", `use lower-case letters, digits and "-"`)
			continue
		}
		j := &Job{Variant: l.cell.variant}
		for _, of := range []layer{variant, l} {
			if of.base != "" {
				j.Base, j.base = of.base, r.baseAt(of)
			}
		}
		shared := r.over(r.over(nil, r.defaults), distro)
		if j.Base != "" {
			shared = shared.without([]string{"packages", "customize.copy", "customize.script", "customize.hook"})
		}
		j.Wish = r.over(r.over(shared, variant), l)
		r.place(j, "distro", r.placeOf(l, "distro"), l.cell.distro)
		if l.cell.release != "" {
			r.place(j, "release", r.placeOf(l, "release"), l.cell.release)
		}
		r.add(j, l.name, l.at)
	}
}

// bases finds the jobs that others are built on.
func (r *matrixReader) bases() {
	byName := map[string]*Job{}
	for _, j := range r.jobs {
		byName[j.Name] = j
	}
	for _, j := range r.jobs {
		if j.Base == "" {
			continue
		}
		said := j.Base
		if slices.ContainsFunc(r.variants, func(v layer) bool { return v.name == said }) {
			at := cell{j.Wish.Input.Distro, j.Wish.Input.Release, said}
			i := slices.IndexFunc(r.jobs, func(o *Job) bool {
				return (cell{o.Wish.Input.Distro, o.Wish.Input.Release, o.Variant}) == at
			})
			if i < 0 {
				r.note(j.base.at, "base", said, "is not built of "+cell{at.distro, at.release, ""}.String()+", and "+j.Name+" is to be built on it", "exclude that too, or build both")
				continue
			}
			j.Base = r.jobs[i].Name
		}
		b := byName[j.Base]
		if b == nil {
			r.note(j.base.at, "base", said, "is neither a variant nor an image of the matrix", "name a variant of the file, or an image as matrix plan does")
			continue
		}
		r.fits(j, b)
	}
	for _, j := range r.jobs {
		seen := []string{j.Name}
		for o := byName[j.Base]; o != nil; o = byName[o.Base] {
			if seen = append(seen, o.Name); o == j {
				r.note(j.base.at, "base", j.Base, "comes to be built on itself: "+strings.Join(seen, " on "), "leave one of the bases out")
				break
			} else if len(seen) > len(r.jobs) {
				break
			}
		}
	}
}

// fits says what keeps a job from being built on another one.
func (r *matrixReader) fits(j, b *Job) {
	mine, its := j.Wish.Input, b.Wish.Input
	switch {
	case mine.Distro != its.Distro || mine.Release != its.Release || mine.Arch != its.Arch:
		r.note(j.base.at, "base", b.Name, fmt.Sprintf("is %s, and %s is %s", cell{its.Distro, its.Release, its.Arch}, j.Name, cell{mine.Distro, mine.Release, mine.Arch}), "build on an image of the same distribution and release")
	case len(mine.Packages) > 0:
		at := j.Wish.said["packages"].at
		r.note(at, "packages", mine.Packages[0], "cannot be added to "+b.Name+", which is built already", "give it to "+b.Name+", or have a script of customize with network: true install it")
	case !slices.ContainsFunc(b.Wish.Image.Formats, func(f string) bool { return slices.Contains(BaseFormats, f) }):
		r.note(j.base.at, "base", b.Name, "has no format that another image can be built on", "give it one of "+strings.Join(BaseFormats, ", "))
	}
}

// BaseFormats are the formats of an image that another one can be built on, the
// best first: a directory's owners are lost when a CI engine carries it.
var BaseFormats = []string{"tar", "tar.zst", "tar.gz", "tar.xz", "directory"}
