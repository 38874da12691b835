package spec

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

func (r *reader) newWish(start place) *Wish {
	return &Wish{source: r.text, start: start, said: map[string]value{}}
}

// groups are the keys that hold others.
var groups = func() map[string]bool {
	all := map[string]bool{}
	for _, f := range FileFields {
		if group, _, inside := strings.Cut(f.Key, "."); inside {
			all[group] = true
		}
	}
	return all
}()

func isKey(key string) bool { return groups[key] || fieldOf(key) != nil }

func fieldOf(key string) *FileField {
	if i := slices.IndexFunc(FileFields, func(f FileField) bool { return f.Key == key }); i >= 0 {
		return &FileFields[i]
	}
	return nil
}

// machine reads what is said of one machine, beyond what base says.
func (r *reader) machine(own []entry, start place, base *Wish, named bool) *Wish {
	w := r.newWish(start)
	if base != nil {
		*w = *base
		w.start, w.said = start, maps.Clone(base.said)
	}
	for _, e := range own {
		switch {
		case groups[e.key]:
			inner, ok := r.entries(e.value, e.key)
			if !ok {
				continue
			}
			if e.key == "access" && slices.ContainsFunc(inner, func(e entry) bool { return strings.HasPrefix(e.key, "password") }) {
				w.forgetPassword()
			}
			for _, i := range inner {
				r.field(w, e.key, i)
			}
		case e.key == "name" && !named:
			r.note(e.at, "name", "", "cannot be shared by machines", "give each machine a name of its own")
		default:
			r.field(w, "", e)
		}
	}
	r.password(w, base)
	return w
}

// forgetPassword drops what the defaults say of the password.
func (w *Wish) forgetPassword() {
	w.Input.Password, w.PasswordFile, w.PasswordHash = PasswordLocked, "", Secret{}
	for _, key := range []string{"access.password", "access.password-file", "access.password-hash"} {
		delete(w.said, key)
	}
}

// field reads one key and puts what it says into its place.
func (r *reader) field(w *Wish, group string, e entry) {
	f := fieldOf(join(group, e.key))
	if f == nil || strings.Contains(e.key, ".") {
		r.unknown(group, e)
		return
	}
	if e.value == nil {
		r.note(e.at, f.Key, "", "has no value", "give it one, or leave the key out")
		return
	}
	v := value{key: e.at, at: nodePlace(e.value)}
	switch f.kind {
	case kindText, kindSecret:
		if s, ok := r.word(e.value, f.Key, f); ok {
			if f.path {
				s = r.relative(s)
			}
			if f.kind == kindSecret {
				*pointer[Secret](f.at(w)) = NewSecret(s)
			} else {
				*pointer[string](f.at(w)) = s
			}
		}
	case kindSwitch:
		n := r.resolve(e.value, f.Key)
		b, ok := n.(*ast.BoolNode)
		if !ok {
			if n != nil {
				r.note(v.at, f.Key, scalar(n), "is "+form(n)+", where true or false is wanted", "write true or false")
			}
			return
		}
		*pointer[bool](f.at(w)) = b.Value
	case kindList:
		v.parts = r.list(w, f, e.value)
	case kindPairs:
		v.parts = r.pairs(w, f, e.value)
	}
	w.said[f.Key] = v
}

func (r *reader) unknown(group string, e entry) {
	var known []string
	for _, f := range FileFields {
		if g, name, inside := strings.Cut(f.Key, "."); inside && g == group {
			known = append(known, name)
		} else if group == "" && (!inside || !slices.Contains(known, g)) {
			known = append(known, g)
		}
	}
	where := "here"
	if group != "" {
		where = "in " + group
	}
	hint := "the keys " + where + " are " + strings.Join(known, ", ")
	for _, f := range FileFields {
		if f.Key == e.key || f.Flag == e.key || strings.HasSuffix(f.Key, "."+e.key) {
			hint = "it is written " + strings.ReplaceAll(f.Key, ".", ": ")
		}
	}
	r.note(e.at, join(group, e.key), "", "is not known", hint)
}

// word reads a text; a number counts as one where the field says so, as it
// stands in the file.
func (r *reader) word(n ast.Node, field string, f *FileField) (string, bool) {
	at := nodePlace(n)
	node := r.resolve(n, field)
	if node == nil {
		return "", false
	}
	switch node.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return scalar(node), true
	case *ast.IntegerNode, *ast.FloatNode:
		if f.number {
			return scalar(node), true
		}
	}
	shown := scalar(node)
	if strings.HasPrefix(f.Key, "access.password") {
		shown = ""
	}
	hint := "put it in quotes"
	switch node.(type) {
	case *ast.SequenceNode, *ast.MappingNode, *ast.MappingValueNode:
		hint = "write one word or one line of text"
	case *ast.NullNode:
		hint = "give it a value, or leave the key out"
	}
	r.note(at, field, shown, "is "+form(node)+", where a text is wanted", hint)
	return "", false
}

func (r *reader) list(w *Wish, f *FileField, n ast.Node) []part {
	items, ok := r.items(n, f.Key, "a list", "[ONE, ANOTHER]")
	if !ok {
		return nil
	}
	var parts []part
	for _, item := range items {
		s, ok := r.word(item, f.Key, f)
		if !ok {
			continue
		}
		if f.path {
			s = r.absolute(f, s)
		}
		parts = append(parts, part{s, nodePlace(item)})
	}
	if f.Key == "access.ssh-keys" {
		r.keys(w, parts)
		return parts
	}
	*pointer[[]string](f.at(w)) = texts(parts)
	return parts
}

func texts(parts []part) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p.text
	}
	return out
}

// keys tells public keys from the paths of files that hold some: the middle of
// a key always begins with these letters, its own length in base64.
func (r *reader) keys(w *Wish, parts []part) {
	w.Input.SSHKeys, w.KeyFiles = nil, nil
	for i, p := range parts {
		if strings.Contains(p.text, " AAAA") {
			w.Input.SSHKeys = append(w.Input.SSHKeys, p.text)
			continue
		}
		parts[i].text = r.relative(p.text)
		w.KeyFiles = append(w.KeyFiles, parts[i].text)
	}
}

// bind makes the source of a bind absolute.
func (r *reader) bind(s string) string {
	source := splitEscaped(s)[0]
	whole := r.relative(source)
	if whole == source {
		return s
	}
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace
	rest, ok := strings.CutPrefix(s, escape(source))
	if !ok { // a backslash that escapes nothing
		rest, ok = strings.CutPrefix(s, source)
	}
	if !ok {
		return s
	}
	return escape(whole) + rest
}

// pairs reads a map of texts, on top of what the defaults say.
func (r *reader) pairs(w *Wish, f *FileField, n ast.Node) []part {
	entries, ok := r.entries(n, f.Key)
	if !ok {
		return nil
	}
	to := pointer[[]string](f.at(w))
	all := slices.Clone(*to)
	parts := slices.Clone(w.said[f.Key].parts)
	for _, e := range entries {
		field := f.Key + "." + printable(e.key)
		if e.key == "" || strings.Contains(e.key, "=") {
			r.note(e.at, f.Key, e.key, "is not a key", `use letters, digits, ".", "_" and "-"`)
			continue
		}
		if e.value == nil {
			r.note(e.at, field, "", "has no value", `give it one; "" is nothing`)
			continue
		}
		s, ok := r.word(e.value, field, f)
		if !ok {
			continue
		}
		own := func(pair string) bool { return strings.HasPrefix(pair, e.key+"=") }
		all = append(slices.DeleteFunc(all, own), e.key+"="+s)
		parts = append(slices.DeleteFunc(parts, func(p part) bool { return own(p.text) }), part{e.key + "=" + s, e.at})
	}
	*to = all
	return parts
}

// password makes one thing of the keys that are about the password.
func (r *reader) password(w, base *Wish) {
	kind := w.Input.Password
	v, said := w.said["access.password"]
	switch {
	case said && base != nil && base.said["access.password"].key == v.key:
		// It was looked at where it is said.
	case kind == "locked":
		w.Input.Password = PasswordLocked
	case said && !slices.Contains(passwordKinds, string(kind)):
		// It may well be a password.
		r.note(v.key, "access.password", "", "says neither "+strings.Join(passwordKinds, " nor "), "a password is not written into a spec file: name its file, password-file: FILE")
		return
	}
	for _, of := range []struct {
		key   string
		given bool
		kind  PasswordKind
	}{
		{"access.password-file", w.PasswordFile != "", PasswordGiven},
		{"access.password-hash", !w.PasswordHash.Empty(), PasswordHash},
	} {
		if !of.given {
			continue
		}
		if (said || w.Input.Password != PasswordLocked) && w.Input.Password != of.kind {
			r.note(w.said[of.key].key, of.key, "", "contradicts what else is said of the password", "say one thing of it")
			return
		}
		w.Input.Password = of.kind
	}
}
