package spec

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// FormatFile writes a spec file that asks for s and nothing else: read and
// built again it is s. A password is not in it, only that there is one.
func FormatFile(s Spec) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "version: %d\n", Version)
	group := ""
	for _, f := range FileFields {
		v, said := f.value(s)
		if !said {
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

// value is what s says of a field; false when that goes without saying.
func (f FileField) value(s Spec) (any, bool) {
	if f.show == nil {
		return nil, false
	}
	switch v := f.show(s).(type) {
	case string:
		return v, v != ""
	case bool:
		// That nobody is let in is what nobody would guess.
		nobody := f.Key == "access.invoker-keys" && s.Access.Password == PasswordLocked && len(s.Access.SSHKeys) == 0
		return v, v || nobody
	case []string:
		return v, len(v) > 0
	case map[string]string:
		return v, len(v) > 0
	}
	return nil, false
}

// format writes a value after its key.
func (f FileField) format(b *strings.Builder, indent string, v any) {
	switch v := v.(type) {
	case string:
		fmt.Fprintf(b, " %s\n", f.scalar(v))
	case bool:
		fmt.Fprintf(b, " %t\n", v)
	case []string:
		b.WriteByte('\n')
		for _, one := range v {
			fmt.Fprintf(b, "%s- %s\n", indent, f.scalar(one))
		}
	case map[string]string:
		b.WriteByte('\n')
		for _, key := range slices.Sorted(maps.Keys(v)) {
			fmt.Fprintf(b, "%s%s: %s\n", indent, f.scalar(key), f.scalar(v[key]))
		}
	}
}

var (
	// plainForm is what every YAML takes for a text as it stands, but for
	// plainNot.
	plainForm = regexp.MustCompile(`^([A-Za-z/][A-Za-z0-9/._+=@-]*( [A-Za-z0-9/._+=@-]+)*|[0-9]+[%KMGT]|([0-9.]+[a-zµ]+)+|([0-9]+\.){3}[0-9]+(/[0-9]+)?)$`)
	plainNot  = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null|[0-9.]+e[0-9]*|0x[0-9a-f]*|0o[0-7]*)$`)
	wholeForm = regexp.MustCompile(`^[1-9][0-9]*$`)
)

func (f FileField) scalar(s string) string {
	if plainForm.MatchString(s) && !plainNot.MatchString(s) || f.number && f.kind == kindText && f.Key != "release" && wholeForm.MatchString(s) {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b) // JSON's texts are YAML's
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("a text cannot be marshalled: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}
