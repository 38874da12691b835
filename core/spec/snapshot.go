package spec

import "time"

// ParseSnapshot reads the moment of which packages are to be as they were: a
// date, or a time as RFC 3339 has it.
func ParseSnapshot(s string) *FieldError {
	bad := func(problem string) *FieldError {
		return &FieldError{"snapshot", s, problem, "write a date such as 2026-11-01, or a time such as 2026-11-01T12:00:00Z"}
	}
	at, err := time.Parse(time.DateOnly, s)
	if err != nil {
		if at, err = time.Parse(time.RFC3339, s); err != nil {
			return bad("is neither a date nor a time")
		}
	}
	if at.Year() < 2005 {
		return bad("is from before anybody kept packages") // the oldest archive of packages begins in 2005
	}
	return nil
}

func (b *build) snapshot(s string) {
	if s != "" {
		b.note(ParseSnapshot(s))
	}
	b.spec.Snapshot = s
}
