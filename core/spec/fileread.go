package spec

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// fieldFile names the file itself in findings.
const fieldFile = "spec file"

// ReadFile reads a spec file. Its error is a *FileError that holds everything
// that is wrong with its form; what is wrong with the values is for Build to
// say and for Wish.Locate to place.
func ReadFile(src Source, data []byte) (*File, error) {
	r := &reader{src: src, text: &text{name: src.Name}, anchors: map[string]ast.Node{}, left: fileNodeLimit}
	root := r.parse(data)
	f := &File{}
	if root != nil {
		f = r.file(root)
	}
	if len(r.findings) > 0 {
		return nil, &FileError{r.findings}
	}
	return f, nil
}

// reader walks the nodes of a file by the table. How deep it goes is bounded by
// the table, how much it looks at by left: aliases cannot make it more.
type reader struct {
	src      Source
	text     *text
	anchors  map[string]ast.Node
	left     int
	findings []Finding
}

func (r *reader) note(at place, field, value, problem, hint string) {
	if len(r.findings) >= fileFindingLimit {
		return
	}
	r.findings = append(r.findings, r.text.finding(at, &FieldError{field, value, problem, hint}))
}

// resolve follows aliases to what they stand for; nil when a finding says why
// not.
func (r *reader) resolve(n ast.Node, field string) ast.Node {
	for {
		if r.left--; r.left < 0 {
			if r.left == -1 {
				r.note(nodePlace(n), fieldFile, "", fmt.Sprintf("says more than %d things", fileNodeLimit), "use fewer aliases, or several files")
			}
			return nil
		}
		switch node := n.(type) {
		case *ast.AnchorNode:
			n = node.Value
		case *ast.AliasNode:
			target, ok := r.anchors[node.Value.String()]
			if !ok {
				r.note(nodePlace(n), field, "*"+node.Value.String(), "is an alias of nothing", "write &"+node.Value.String()+" before what it stands for")
				return nil
			}
			n = target
		case *ast.TagNode:
			r.note(nodePlace(n), field, node.Start.Value, "is a tag, which is not taken", "leave it out")
			return nil
		case nil:
			return nil
		default:
			return n
		}
	}
}

// entry is one key of a mapping with what it says.
type entry struct {
	key   string
	at    place
	value ast.Node
}

// entries are those of a mapping, each key once.
func (r *reader) entries(n ast.Node, field string) ([]entry, bool) {
	at := nodePlace(n)
	node := r.resolve(n, field)
	if node == nil {
		return nil, false
	}
	var values []*ast.MappingValueNode
	switch m := node.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		r.note(at, field, "", "is "+form(node)+", where keys with values are wanted", "write KEY: VALUE, each on a line of its own")
		return nil, false
	}
	var all []entry
	seen := map[string]place{}
	for _, v := range values {
		at := nodePlace(v.Key)
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			problem := "has a key that is no word"
			if v.Key.IsMergeKey() {
				problem = "has a merge key, which is not taken"
			}
			r.note(at, field, "", problem, "what machines share goes under defaults:")
			continue
		}
		if first, twice := seen[key.Value]; twice {
			r.note(at, join(field, key.Value), "", fmt.Sprintf("is said twice, first in line %d", first.line), "say it once")
			continue
		}
		seen[key.Value] = at
		all = append(all, entry{key.Value, at, v.Value})
	}
	return all, true
}

// join puts a key below a group; the file itself has no name there.
func join(group, key string) string {
	if group == "" || group == fieldFile {
		return printable(key)
	}
	return group + "." + printable(key)
}

// printable is a key of the file as it can be said in an error.
func printable(key string) string {
	if q := quote(key); strings.Trim(q, `"`) != key {
		return q
	}
	return key
}

// file reads the whole.
func (r *reader) file(root ast.Node) *File {
	entries, ok := r.entries(root, fieldFile)
	if !ok {
		return &File{}
	}
	r.version(entries, nodePlace(root))
	several := find(entries, "machines")
	if several == nil {
		if d := find(entries, "defaults"); d != nil {
			r.note(d.at, "defaults", "", "is given without machines", "add the list machines:, or say it of the machine itself")
		}
		own := slices.DeleteFunc(entries, func(e entry) bool { return e.key == "version" || e.key == "defaults" })
		return &File{Machines: []*Wish{r.machine(own, nodePlace(root), nil, true)}}
	}
	defaults := r.newWish(place{1, 1})
	for _, e := range entries {
		switch e.key {
		case "version", "machines":
		case "defaults":
			if own, ok := r.entries(e.value, "defaults"); ok {
				defaults = r.machine(own, e.at, nil, false)
			}
		default:
			hint := "beside machines there are version and defaults only"
			if isKey(e.key) {
				hint = "put it under defaults, or under a machine"
			}
			r.note(e.at, join("", e.key), "", "is not possible beside machines", hint)
		}
	}
	return &File{Several: true, Machines: r.machines(several, defaults)}
}

func find(entries []entry, key string) *entry {
	if i := slices.IndexFunc(entries, func(e entry) bool { return e.key == key }); i >= 0 {
		return &entries[i]
	}
	return nil
}

func (r *reader) version(entries []entry, begin place) {
	const hint = "begin the file with version: 1"
	e := find(entries, "version")
	if e == nil {
		r.note(begin, "version", "", "is not given", hint)
		return
	}
	n := r.resolve(e.value, "version")
	if n == nil {
		return
	}
	if i, ok := n.(*ast.IntegerNode); !ok || i.Token.Value != "1" {
		r.note(nodePlace(e.value), "version", scalar(n), "is not a version that this program knows", hint)
	}
}

func (r *reader) machines(e *entry, defaults *Wish) []*Wish {
	list, ok := r.items(e.value, "machines", "a list of machines", "- name: box")
	if !ok {
		return nil
	}
	if len(list) == 0 {
		r.note(e.at, "machines", "", "is empty", "write - name: box")
	}
	if len(list) > fileMachineLimit {
		r.note(e.at, "machines", "", fmt.Sprintf("has more than %d", fileMachineLimit), "use several files")
		return nil
	}
	var all []*Wish
	named := map[string]place{}
	for _, n := range list {
		own, ok := r.entries(n, "machine")
		if !ok {
			continue
		}
		w := r.machine(own, nodePlace(n), defaults, true)
		name := w.Input.Name
		if first, twice := named[name]; twice && name != "" {
			r.note(w.said["name"].at, "name", name, fmt.Sprintf("is the name of another machine, in line %d", first.line), "give each machine a name of its own")
		}
		if name == "" {
			r.note(w.start, "name", "", "is not given", "each machine of a list needs its name")
		}
		named[name] = w.said["name"].at
		all = append(all, w)
	}
	return all
}

// items are those of a list.
func (r *reader) items(n ast.Node, field, want, example string) ([]ast.Node, bool) {
	at := nodePlace(n)
	node := r.resolve(n, field)
	if node == nil {
		return nil, false
	}
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		r.note(at, field, "", "is "+form(node)+", where "+want+" is wanted", "write "+example)
		return nil, false
	}
	return list.Values, true
}

// form says what kind of value a node is.
func form(n ast.Node) string {
	switch n.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return "a truth value"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a set of keys"
	}
	return "something else"
}

// scalar is the text of a value as it stands in the file; empty when it is
// none.
func scalar(n ast.Node) string {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.LiteralNode:
		return v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value
	}
	return ""
}

// relative makes a path of the file absolute.
func (r *reader) relative(path string) string {
	switch {
	case path == "" || filepath.IsAbs(path):
		return path
	case path == "~" || strings.HasPrefix(path, "~/"):
		return filepath.Join(r.src.Home, path[1:])
	}
	return filepath.Join(r.src.Directory, path)
}
