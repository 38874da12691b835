package spec

import "strings"

// Selector asks for a label: of a machine that has it with that value or, where
// none was given, with any.
type Selector struct {
	Key, Value string
	Any        bool // of any value
}

// ParseSelector reads KEY=VALUE or KEY.
func ParseSelector(s string) (Selector, *FieldError) {
	key, value, e := ParseLabel(s)
	if e != nil {
		e.Problem = "is neither KEY=VALUE nor KEY"
		return Selector{}, e
	}
	return Selector{Key: key, Value: value, Any: !strings.Contains(s, "=")}, nil
}

// Matches reports whether labels are what is asked for.
func (s Selector) Matches(labels map[string]string) bool {
	value, has := labels[s.Key]
	return has && (s.Any || value == s.Value)
}
