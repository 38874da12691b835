package spec

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A matrix file says which images are to be built: distributions and their
// releases by variants, less what is excluded, and what is included beside. What
// is said of the images are fields of a spec file, in layers: defaults, the
// distribution, the variant, overrides.

// matrixJobLimit is how many jobs a matrix file may come to.
const matrixJobLimit = 1000

// Matrix is what a matrix file says, taken apart.
type Matrix struct{ Jobs []*Job }

// Job is one image of a matrix.
type Job struct {
	Name    string
	Variant string // empty where the file has none
	// Base is the name of the job whose image this one is built on.
	Base string
	// Wish is all that is said of the image; its Input.Name is Name.
	Wish *Wish

	base value // where the base is said
}

// cell is a place in the grid of a matrix. A field that is empty says nothing
// where a cell is used to choose.
type cell struct{ distro, release, variant string }

func (c cell) String() string {
	return strings.Join(slices.DeleteFunc([]string{c.distro, c.release, c.variant}, func(s string) bool { return s == "" }), " ")
}

// holds reports whether all that c says is true of a job.
func (c cell) holds(j *Job) bool {
	return (c.distro == "" || c.distro == j.Wish.Input.Distro) && (c.release == "" || c.release == j.Wish.Input.Release) &&
		(c.variant == "" || c.variant == j.Variant)
}

// layer is one mapping of the file that says something of images.
type layer struct {
	at      place
	said    map[string]entry // the keys that are the matrix's own
	entries []entry          // those of a spec file
	cell    cell
	name    string
	base    string
}

// matrixReader holds what is read on the way to the jobs.
type matrixReader struct {
	*reader
	defaults                     layer
	distros, variants            []layer
	releases                     map[int][]part // of each distribution
	exclude, overrides, includes []layer
	jobs                         []*Job
}

// ReadMatrix reads a matrix file. Its error is a *FileError that holds
// everything that is wrong with its form; what is wrong with the values is for
// Build to say and for Wish.Locate to place.
func ReadMatrix(src Source, data []byte) (*Matrix, error) {
	r := &matrixReader{reader: &reader{src: src, text: &text{name: src.Name}, anchors: map[string]ast.Node{}, left: fileNodeLimit}, releases: map[int][]part{}}
	root := r.parse(data)
	if root != nil {
		r.read(root)
	}
	// What follows reads the layers again for each job, when all are known to
	// be right by themselves.
	for _, step := range []func(){r.cross, r.adjust, r.include, r.bases} {
		if len(r.findings) > 0 {
			return nil, &FileError{r.findings}
		}
		r.left = fileNodeLimit
		step()
	}
	if len(r.findings) > 0 {
		return nil, &FileError{r.findings}
	}
	return &Matrix{r.jobs}, nil
}

// matrixKeys are the keys at the top of the file.
var matrixKeys = []string{"version", "defaults", "distros", "variants", "exclude", "override", "include"}

func (r *matrixReader) read(root ast.Node) {
	entries, ok := r.entries(root, "matrix file")
	if !ok {
		return
	}
	r.version(entries, nodePlace(root))
	for _, e := range entries {
		switch e.key {
		case "version":
		case "defaults":
			r.defaults, _ = r.layer(e.value, "defaults")
		case "distros":
			r.readDistros(e)
		case "variants":
			r.variants = r.layers(e, "variant", "name", "base")
		case "exclude":
			r.exclude = r.layers(e, "exclude", "distro", "release", "variant")
			for _, l := range r.exclude {
				if len(l.entries) > 0 {
					r.note(l.entries[0].at, join("exclude", l.entries[0].key), "", "says nothing of what is excluded", "the keys here are distro, release and variant")
				}
			}
		case "override":
			r.overrides = r.layers(e, "override", "distro", "release", "variant", "base")
		case "include":
			r.includes = r.layers(e, "include", "name", "distro", "release", "variant", "base")
		default:
			hint := "the keys here are " + strings.Join(matrixKeys, ", ")
			if isKey(e.key) {
				hint = "put it under defaults, a distribution or a variant"
			}
			r.note(e.at, join("", e.key), "", "is not known", hint)
		}
	}
	if len(r.distros) == 0 && len(r.includes) == 0 && len(r.findings) == 0 {
		r.note(nodePlace(root), "distros", "", "is not given, and nothing is included", "write distros: [debian]")
	}
	r.names()
}

// names looks at those of the variants, by which jobs are called.
func (r *matrixReader) names() {
	seen := map[string]bool{}
	for _, v := range r.variants {
		switch at := r.placeOf(v, "name"); {
		case v.name == "":
			r.note(v.at, "name", "", "is not given", "each variant needs a name, such as minimal")
		case !variantForm.MatchString(v.name):
			r.note(at, "name", v.name, "is not the name of a variant", `use lower-case letters, digits and "-"`)
		case seen[v.name]:
			r.note(at, "name", v.name, "is the name of another variant", "give each variant a name of its own")
		}
		seen[v.name] = true
	}
}

var variantForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// readDistros reads the list of distributions, where a word will do for one.
func (r *matrixReader) readDistros(e entry) {
	list, ok := r.items(e.value, "distros", "a list", "[debian, arch]")
	if !ok {
		return
	}
	if len(list) == 0 {
		r.note(e.at, "distros", "", "is empty", "write [debian], or leave it out and include images")
	}
	for _, n := range list {
		at := nodePlace(n)
		if word, is := r.resolve(n, "distros").(*ast.StringNode); is {
			said := map[string]entry{"distro": {"distro", at, n}}
			r.distros = append(r.distros, layer{at: at, said: said, cell: cell{distro: word.Value}})
			continue
		}
		l, ok := r.layer(n, "distro", "distro", "releases")
		if !ok {
			continue
		}
		if _, said := l.said["distro"]; !said {
			r.note(at, "distro", "", "is not given", "write distro: debian")
		}
		if releases, said := l.said["releases"]; said {
			r.releases[len(r.distros)] = r.readReleases(releases)
		}
		r.distros = append(r.distros, l)
	}
}

func (r *matrixReader) readReleases(e entry) []part {
	var all []part
	list, ok := r.items(e.value, "releases", "a list", "[bookworm, trixie]")
	if ok && len(list) == 0 {
		r.note(e.at, "releases", "", "is empty", "leave it out for the current stable one")
	}
	for _, n := range list {
		if s, ok := r.word(n, "releases", fieldOf("release")); ok {
			if slices.ContainsFunc(all, func(p part) bool { return p.text == s }) {
				r.note(nodePlace(n), "releases", s, "is there twice", "write each release once")
			}
			all = append(all, part{s, nodePlace(n)})
		}
	}
	return all
}

// layers reads a list of layers.
func (r *matrixReader) layers(e entry, field string, own ...string) []layer {
	list, ok := r.items(e.value, e.key, "a list", "- "+own[0]+": …")
	if !ok {
		return nil
	}
	var all []layer
	for _, n := range list {
		if l, ok := r.layer(n, field, own...); ok {
			all = append(all, l)
		}
	}
	return all
}

// layer reads a mapping: own are the keys of it that the matrix itself takes,
// the others are a spec file's and are looked at here for the first time.
func (r *matrixReader) layer(n ast.Node, field string, own ...string) (layer, bool) {
	l := layer{at: nodePlace(n), said: map[string]entry{}}
	entries, ok := r.entries(n, field)
	if !ok {
		return l, false
	}
	words := map[string]*string{
		"name": &l.name, "base": &l.base, "distro": &l.cell.distro, "release": &l.cell.release, "variant": &l.cell.variant,
	}
	for _, e := range entries {
		switch {
		case slices.Contains(own, e.key):
			l.said[e.key] = e
			if to := words[e.key]; to != nil && r.given(e) {
				*to, _ = r.word(e.value, e.key, fieldOf("release")) // a release may be a number
			}
		case e.key == "distro" || e.key == "release" || e.key == "name" || e.key == "base" || e.key == "variant" || e.key == "releases":
			r.note(e.at, join(field, e.key), "", "is not said here", "the grid is what distros and variants say; include adds single images")
		case machineOnly[e.key]:
			r.note(e.at, e.key, "", "is about a machine, and this is about images", "leave it out")
		case !isKey(e.key):
			r.note(e.at, join("", e.key), "", "is not known", "the keys here are "+strings.Join(append(slices.Clone(own), imageKeys()...), ", "))
		default:
			l.entries = append(l.entries, e)
		}
	}
	r.machine(l.entries, l.at, nil, false)
	return l, true
}

// imageKeys are the keys of a spec file that say something of an image.
func imageKeys() []string {
	var all []string
	for _, f := range FileFields {
		key, _, _ := strings.Cut(f.Key, ".")
		if !machineOnly[key] && !slices.Contains(append([]string{"name", "distro", "release"}, all...), key) {
			all = append(all, key)
		}
	}
	return all
}

func (r *matrixReader) given(e entry) bool {
	if e.value == nil {
		r.note(e.at, e.key, "", "has no value", "give it one, or leave the key out")
	}
	return e.value != nil
}

// placeOf is where a layer says one of the matrix's own keys.
func (*matrixReader) placeOf(l layer, key string) place {
	e, ok := l.said[key]
	if !ok || e.value == nil {
		return l.at
	}
	return nodePlace(e.value)
}

// machineOnly are the keys of a spec file that say nothing of an image.
var machineOnly = map[string]bool{
	"directory": true, "driver": true, "network": true, "limits": true, "storage": true, "security": true,
	"enable": true, "ttl": true, "no-boot": true, "timeout": true,
}

// done are the lists of what is done to an image, or asked of it: they add up
// from layer to layer, where all else is replaced by what is said closer.
var done = []string{"packages", "customize.copy", "customize.script", "customize.hook", "image.check"}

// over puts a layer over a wish.
func (r *matrixReader) over(base *Wish, l layer) *Wish {
	w := r.machine(l.entries, l.at, base, false)
	if base == nil {
		return w
	}
	for _, key := range done {
		before, after := base.said[key], w.said[key]
		if len(before.parts) == 0 || before.key == after.key {
			continue
		}
		parts := slices.Clone(before.parts)
		for _, p := range after.parts {
			if !slices.ContainsFunc(parts, func(q part) bool { return q.text == p.text }) {
				parts = append(parts, p)
			}
		}
		after.parts = parts
		w.said[key] = after
		*pointer[[]string](fieldOf(key).at(w)) = texts(parts)
	}
	return w
}

// without forgets what is done to the base of a job already.
func (w *Wish) without(keys []string) *Wish {
	own := *w
	own.said = maps.Clone(w.said)
	for _, key := range keys {
		delete(own.said, key)
		if f := fieldOf(key); f != nil {
			*pointer[[]string](f.at(&own)) = nil
		}
	}
	return &own
}

func (r *matrixReader) tooMany() bool {
	if len(r.jobs) < matrixJobLimit {
		return false
	}
	if len(r.findings) == 0 {
		r.note(place{1, 1}, "matrix file", "", fmt.Sprintf("comes to more than %d images", matrixJobLimit), "use several files")
	}
	return true
}
