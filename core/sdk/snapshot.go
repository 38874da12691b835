package sdk

import (
	"strings"
	"time"
)

// SnapshotVariable stands, in a mirror, for the moment of Request.Snapshot, in
// the form in which the distribution's archives of old packages write it.
const SnapshotVariable = "$snapshot"

// Snapshot reads the moment of which a request wants the repositories; zero
// when it does not say one, or says one that is refused. A date stands for its
// first second in UTC.
func (f *Findings) Snapshot(value string, now time.Time) time.Time {
	if value == "" {
		return time.Time{}
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		moment, err := time.Parse(form, value)
		switch {
		case err != nil:
		case moment.After(now):
			f.Refuse("snapshot", Quoted(value)+" is in the future", "name a day that is over, such as "+now.UTC().AddDate(0, 0, -7).Format(time.DateOnly))
			return time.Time{}
		default:
			return moment.UTC()
		}
	}
	f.Refuse("snapshot", Quoted(value)+" is neither a date nor a moment in RFC 3339", "write 2026-11-01 or 2026-11-01T12:00:00Z")
	return time.Time{}
}

// SnapshotMirrors writes the moment of a snapshot, in the archive's form, into
// the mirrors that have a place for it. It refuses a snapshot of mirrors that
// have none, and a place for it without a snapshot.
func (f *Findings) SnapshotMirrors(mirrors []string, moment time.Time, form, example string) []string {
	out := make([]string, 0, len(mirrors))
	placed := 0
	for _, mirror := range mirrors {
		with := mirror
		if !moment.IsZero() {
			with = strings.ReplaceAll(mirror, SnapshotVariable, moment.Format(form))
		}
		if with != mirror {
			placed++
		}
		if moment.IsZero() && strings.Contains(mirror, SnapshotVariable) {
			f.Refuse("mirrors", Quoted(mirror)+" has a place for a moment, and none was given", "name one with --snapshot 2026-11-01")
		}
		out = append(out, with)
	}
	if !moment.IsZero() && placed == 0 {
		f.Refuse("snapshot", "none of the mirrors keeps old packages, as far as can be told",
			"name one that does, with "+SnapshotVariable+" where the moment goes, in single quotes: --mirror '"+example+"'")
	}
	return out
}
