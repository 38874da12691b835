package spec

import (
	"fmt"
	"strings"
)

// Format writes a spec file that says what w says, word for word, with paths
// that are absolute. A password's hash is in it where w has one: it is for a
// file that nobody else can read, and not to be kept.
func (w *Wish) Format() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "version: %d\n", Version)
	group := ""
	for _, f := range FileFields {
		v := f.word(w)
		if v == nil || !w.Says(f.Key) {
			continue
		}
		key, indent := f.Key, ""
		if g, name, inside := strings.Cut(f.Key, "."); inside {
			if g != group {
				fmt.Fprintf(&b, "%s:\n", g)
			}
			group, key, indent = g, name, "  "
		}
		b.WriteString(indent + key + ":")
		f.format(&b, indent+"  ", v)
	}
	return []byte(b.String())
}

// word is what a wish says of a field in the form that format takes; nil where
// there is nothing to write.
func (f FileField) word(w *Wish) any {
	switch v := f.at(w).(type) {
	case *string:
		if f.Key == "access.password" && *v == string(PasswordLocked) {
			return "locked"
		}
		return *v
	case *bool:
		return *v
	case *Secret:
		return v.Reveal()
	case *[]string:
		list := *v
		if f.Key == "access.ssh-keys" {
			list = append(append([]string(nil), list...), w.KeyFiles...)
		}
		switch {
		case len(list) == 0:
			return nil
		case f.kind == kindPairs:
			pairs := map[string]string{}
			for _, pair := range list {
				key, value, _ := strings.Cut(pair, "=")
				pairs[key] = value
			}
			return pairs
		}
		return list
	}
	return nil
}
