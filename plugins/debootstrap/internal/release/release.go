// Package release knows the releases of Debian and Ubuntu as this host knows
// them: from the table of distro-info-data and from the scripts of debootstrap.
//
// It holds no list of releases of its own that would have to be kept up to
// date. The only names written here belong to releases that are history.
package release

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The distributions.
const (
	Debian = "debian"
	Ubuntu = "ubuntu"
)

// Release is one row of distro-info-data's table. A time that is not known, or
// not known yet, is zero.
type Release struct {
	Codename  string // what sources.list calls it: trixie
	Version   string // 13, 24.04 LTS; empty for one that is never released
	Created   time.Time
	Released  time.Time
	EndOfLife time.Time // of the longest support that the archive itself serves
}

// LTS reports whether the release is one of Ubuntu's with long support.
func (r Release) LTS() bool { return strings.HasSuffix(r.Version, " LTS") }

// ParseTable reads the format of /usr/share/distro-info/*.csv. The columns are
// found by their names, so that new ones do no harm.
func ParseTable(r io.Reader) ([]Release, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1 // rows end with their last known date
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("the head of the release table: %w", err)
	}
	column := map[string]int{}
	for i, name := range head {
		column[name] = i
	}
	if _, ok := column["series"]; !ok {
		return nil, errors.New("the release table has no column series")
	}
	var releases []Release
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return releases, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the release table: %w", err)
		}
		field := func(name string) string {
			if i, ok := column[name]; ok && i < len(row) {
				return row[i]
			}
			return ""
		}
		if field("series") == "" {
			continue
		}
		releases = append(releases, Release{
			Codename:  field("series"),
			Version:   field("version"),
			Created:   date(field("created")),
			Released:  date(field("release")),
			EndOfLife: latest(date(field("eol")), date(field("eol-lts")), date(field("eol-server"))),
		})
	}
}

// date is zero for what is no date.
func date(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}

// supported reports whether the archive still serves the release on that day.
func (r Release) supported(today time.Time) bool {
	return !r.Created.After(today) && (r.EndOfLife.IsZero() || !r.EndOfLife.Before(today))
}

// released reports whether the release was out on that day.
func (r Release) released(today time.Time) bool {
	return !r.Released.IsZero() && !r.Released.After(today)
}
