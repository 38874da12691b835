package spec

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is written as time.ParseDuration reads it: "2h0m0s".
type Duration time.Duration

// MarshalText writes "2h0m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// ParseTime reads a time such as 90m, 72h, 30d or 1d12h.
func ParseTime(s string) (time.Duration, error) {
	days, rest, with := strings.Cut(s, "d")
	if !with {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 15) // for what is more there is no time.Duration
	d := time.Duration(n) * 24 * time.Hour
	if err != nil || rest == "" {
		return d, err
	}
	more, err := time.ParseDuration(rest)
	if err == nil && (more < 0 || more >= 24*time.Hour) {
		err = errors.New("what follows the days is not less than one")
	}
	return d + more, err
}

// ParseTTL reads how long a machine is wanted.
func ParseTTL(s string) (Duration, *FieldError) {
	const hint = "use 90m, 2h or 7d, say"
	d, err := ParseTime(s)
	if err != nil {
		return 0, &FieldError{"ttl", s, "is not a time", hint}
	}
	if d < time.Minute {
		return 0, &FieldError{"ttl", s, "is shorter than a minute", hint}
	}
	return Duration(d), nil
}

var (
	labelKey   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^[^\pC=,]{0,256}$`)
)

// ParseLabel reads KEY=VALUE.
func ParseLabel(s string) (key, value string, e *FieldError) {
	key, value, _ = strings.Cut(s, "=")
	if !labelKey.MatchString(key) || !labelValue.MatchString(value) || hasControl(s) {
		return "", "", &FieldError{"label", s, "is not KEY=VALUE", `use letters, digits, ".", "_", "-" and "/" for the key, such as project=web`}
	}
	return key, value, nil
}

func (b *build) lifetime(in Input) {
	b.spec.Enable = in.Enable
	if in.TTL != "" {
		var e *FieldError
		b.spec.TTL, e = ParseTTL(in.TTL)
		b.note(e)
	}
	for _, s := range in.Labels {
		key, value, e := ParseLabel(s)
		b.note(e)
		if _, twice := b.spec.Labels[key]; twice && e == nil {
			b.note(&FieldError{"label", s, "repeats its key", "give each key once"})
		}
		if b.spec.Labels == nil {
			b.spec.Labels = map[string]string{}
		}
		b.spec.Labels[key] = value
	}
}
