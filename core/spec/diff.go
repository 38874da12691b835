package spec

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Difference is one field that two specs say differently. An empty side was
// not given.
type Difference struct {
	Field  string `json:"field"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// String reads: limits.memoryMax: 1073741824, now 536870912.
func (d Difference) String() string {
	show := func(s string) string {
		if s == "" {
			return "not given"
		}
		return s
	}
	return fmt.Sprintf("%s: %s, now %s", d.Field, show(d.Before), show(d.After))
}

// Diff lists the fields in which two specs differ, sorted by name. Names are
// those of the form on disk, joined with dots.
func Diff(before, after Spec) []Difference {
	a, b := flatten(before), flatten(after)
	var out []Difference
	for field, v := range a {
		if b[field] != v {
			out = append(out, Difference{field, v, b[field]})
		}
	}
	for field, v := range b {
		if _, ok := a[field]; !ok {
			out = append(out, Difference{field, "", v})
		}
	}
	slices.SortFunc(out, func(x, y Difference) int {
		if x.Field < y.Field {
			return -1
		}
		return 1
	})
	return out
}

func flatten(s Spec) map[string]string {
	data, err := json.Marshal(s)
	if err != nil {
		panic("spec cannot be marshalled: " + err.Error()) // no field of Spec can fail
	}
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(data, &tree); err != nil {
		panic("spec is not an object: " + err.Error())
	}
	out := map[string]string{}
	var walk func(prefix string, node map[string]json.RawMessage)
	walk = func(prefix string, node map[string]json.RawMessage) {
		for k, raw := range node {
			var sub map[string]json.RawMessage
			if json.Unmarshal(raw, &sub) == nil && sub != nil {
				walk(prefix+k+".", sub)
				continue
			}
			out[prefix+k] = string(raw)
		}
	}
	walk("", tree)
	return out
}
