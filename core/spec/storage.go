package spec

import (
	"path"
	"slices"
	"strings"
)

// Storage is what of the host is seen in the machine, and what becomes of what
// is written in it.
type Storage struct {
	Binds []Bind `json:"binds,omitempty"`
	// ReadOnly keeps the machine from writing to its own root.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Ephemeral throws away what was written whenever the machine stops.
	Ephemeral bool `json:"ephemeral,omitempty"`
}

// Bind shows a directory or file of the host in the machine.
type Bind struct {
	Source   string `json:"source"` // absolute, on the host
	Target   string `json:"target"` // absolute, in the machine
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// String is the form of the flag.
func (b Bind) String() string {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace
	s := escape(b.Source) + ":" + escape(b.Target)
	if b.ReadOnly {
		s += ":ro"
	}
	return s
}

// ParseBind reads SOURCE[:TARGET[:ro|rw]]. A colon in a path is written \:.
func ParseBind(s string, readOnly bool) (Bind, *FieldError) {
	bad := func(problem string) (Bind, *FieldError) {
		return Bind{}, &FieldError{"storage.bind", s, problem, "write SOURCE:TARGET[:ro] with absolute paths, such as /srv/projects:/workspace"}
	}
	parts := splitEscaped(s)
	if len(parts) > 3 {
		return bad("has more than three parts")
	}
	b := Bind{Source: parts[0], Target: parts[0], ReadOnly: readOnly}
	if len(parts) > 1 && parts[1] != "" {
		b.Target = parts[1]
	}
	if len(parts) > 2 {
		switch parts[2] {
		case "ro":
			b.ReadOnly = true
		case "rw":
			if readOnly {
				return bad("asks for read-only and for writing")
			}
		default:
			return bad("ends in something other than ro and rw")
		}
	}
	b.Source, b.Target = path.Clean(b.Source), path.Clean(b.Target)
	for _, p := range []string{b.Source, b.Target} {
		if !path.IsAbs(p) || hasControl(p) || strings.TrimSpace(p) != p || strings.HasSuffix(p, `\`) {
			return bad("holds a path that is not absolute")
		}
	}
	if b.Target == "/" || b.Source == "/" {
		return bad("is about a whole root directory")
	}
	return b, nil
}

// splitEscaped splits at colons that have no backslash before them.
func splitEscaped(s string) []string {
	parts := []string{""}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == ':' || s[i+1] == '\\'):
			i++
			parts[len(parts)-1] += s[i : i+1]
		case s[i] == ':':
			parts = append(parts, "")
		default:
			parts[len(parts)-1] += s[i : i+1]
		}
	}
	return parts
}

func (b *build) storage(in Input) {
	b.spec.Storage = Storage{ReadOnly: in.ReadOnly, Ephemeral: in.Ephemeral}
	for i, values := range [][]string{in.Binds, in.BindsReadOnly} {
		for _, s := range values {
			bind, e := ParseBind(s, i == 1)
			b.note(e)
			if e == nil && slices.ContainsFunc(b.spec.Storage.Binds, func(o Bind) bool { return o.Target == bind.Target }) {
				b.note(&FieldError{"storage.bind", s, "has the target of another", "give each target once"})
			}
			b.spec.Storage.Binds = append(b.spec.Storage.Binds, bind)
		}
	}
}
