package main

import (
	"regexp"
	"strings"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// rolling is the release that is always the newest. The others are days of the
// Arch Linux Archive, as YYYY/MM/DD.
const rolling = "rolling"

// dayForm is how the archive writes a day in its addresses.
const dayForm = "2006/01/02"

// firstDay is the oldest day that the archive has
// (https://wiki.archlinux.org/title/Arch_Linux_Archive).
const firstDay = "2013/08/31"

var looksLikeADay = regexp.MustCompile(`^[0-9]{4}/[0-9]{2}/[0-9]{2}$`)

// dated reports whether the release is a day of the archive.
func (j *job) dated() bool { return j.release != rolling }

func (h host) resolveRelease(j *job, found *sdk.Findings) {
	if j.release == "" {
		j.release = rolling
	}
	if !j.dated() {
		return
	}
	hint := "use " + rolling + ", or a day such as " + h.now().UTC().AddDate(0, -1, 0).Format(dayForm)
	if !looksLikeADay.MatchString(j.release) {
		found.Refuse("release", sdk.Quoted(j.release)+" is neither "+rolling+" nor a day", hint)
		return
	}
	day, err := time.Parse(dayForm, j.release)
	switch {
	case err != nil:
		found.Refuse("release", sdk.Quoted(j.release)+" is no day of the calendar", hint)
	case day.After(h.now()):
		found.Refuse("release", sdk.Quoted(j.release)+" is in the future", hint)
	case j.release < firstDay:
		found.Refuse("release", sdk.Quoted(j.release)+" is before "+firstDay+", when the archive begins", hint)
	case j.machine == arm:
		found.Refuse("release", "there is no archive of days for "+arm, "use "+rolling)
	}
}

// resolveSnapshot makes the release the day that is asked for: that is what the
// archive keeps.
func (h host) resolveSnapshot(j *job, snapshot string, found *sdk.Findings) {
	moment := found.Snapshot(snapshot, h.now())
	if moment.IsZero() {
		return
	}
	day := moment.Format(dayForm)
	if j.dated() && j.release != day {
		found.Refuse("snapshot", sdk.Quoted(snapshot)+" is not the day of the release, "+j.release, "leave one of the two out")
		return
	}
	j.release = day
	h.resolveRelease(j, found)
}

// dayInto writes the day into the mirrors that have a place for it.
func (j *job) dayInto(mirrors []string) []string {
	if !j.dated() {
		return mirrors
	}
	out := make([]string, 0, len(mirrors))
	for _, mirror := range mirrors {
		out = append(out, strings.ReplaceAll(mirror, sdk.SnapshotVariable, j.release))
	}
	return out
}
