package spec

import (
	"slices"
	"strconv"
)

// limitFields are the limits under the names of their flags, in the order in
// which they are shown.
var limitFields = []struct {
	name  string
	at    func(*Limits) *uint64
	parse func(field, s string) (uint64, *FieldError)
	show  func(uint64) string
}{
	{"cpu-quota", func(l *Limits) *uint64 { return &l.CPUQuota }, ParseQuota, func(v uint64) string { return plain(v) + "%" }},
	{"memory-max", func(l *Limits) *uint64 { return &l.MemoryMax }, ParseSize, size},
	{"memory-high", func(l *Limits) *uint64 { return &l.MemoryHigh }, ParseSize, size},
	{"io-bandwidth", func(l *Limits) *uint64 { return &l.IOBandwidth }, ParseBandwidth, size},
	{"io-weight", func(l *Limits) *uint64 { return &l.IOWeight }, ParseWeight, plain},
	{"tasks-max", func(l *Limits) *uint64 { return &l.TasksMax }, ParseTasks, plain},
}

func plain(v uint64) string { return strconv.FormatUint(v, 10) }

// LimitNames are the names of the limits, which are those of their flags.
func LimitNames() []string {
	names := make([]string, 0, len(limitFields))
	for _, f := range limitFields {
		names = append(names, f.name)
	}
	return names
}

// Get returns the value of the limit of that name; 0 when it is not set.
func (l Limits) Get(name string) uint64 {
	for _, f := range limitFields {
		if f.name == name {
			return *f.at(&l)
		}
	}
	return 0
}

// Set gives the limit of that name a value as the user writes it. The empty
// value takes back that it was set. On an error nothing is changed.
func (l *Limits) Set(name, value string) *FieldError {
	i := slices.Index(LimitNames(), name)
	if i < 0 {
		return &FieldError{"limits", name, "is not a limit", "use one of " + listed(LimitNames())}
	}
	f := limitFields[i]
	var v uint64
	var e *FieldError
	if value != "" {
		v, e = f.parse("limits."+name, value)
	}
	if e == nil {
		*f.at(l) = v
	}
	return e
}

// Show writes the limit of that name as the user would: "512M", "50%",
// "infinity". It is empty when the limit is not set.
func (l Limits) Show(name string) string {
	v := l.Get(name)
	switch v {
	case 0:
		return ""
	case Infinity:
		return "infinity"
	}
	return limitFields[slices.Index(LimitNames(), name)].show(v)
}

func listed(words []string) string {
	var s string
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			s += " or "
		default:
			s += ", "
		}
		s += w
	}
	return s
}
