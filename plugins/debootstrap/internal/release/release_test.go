package release

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const debianTable = `version,codename,series,created,release,eol,eol-lts,eol-elts
1.1,Buzz,buzz,1993-08-16,1996-06-17,1997-06-05
11,Bullseye,bullseye,2019-07-06,2021-08-14,2024-08-14,2026-08-31,2031-06-30
12,Bookworm,bookworm,2021-08-14,2023-06-10,2026-07-11,2028-06-30,2033-06-30
13,Trixie,trixie,2023-06-10,2025-08-09,2028-08-09,2030-06-30,2035-06-30
14,Forky,forky,2025-08-09
15,Duke,duke,2027-08-01
,Sid,sid,1993-08-16
,Experimental,experimental,1993-08-16
`

const ubuntuTable = `version,codename,series,created,release,eol,eol-server,eol-esm
20.04 LTS,Focal Fossa,focal,2019-10-17,2020-04-23,2025-05-29,2025-05-29,2030-04-23
24.04 LTS,Noble Numbat,noble,2023-10-12,2024-04-25,2029-05-31,2029-05-31,2034-04-25
25.10,Questing Quokka,questing,2025-04-17,2025-10-09,2026-07-09
26.04 LTS,Resolute Raccoon,resolute,2025-10-09,2026-04-23,2031-05-29,2031-05-29,2036-04-23
28.04 LTS,Future,future,2027-10-14,2028-04-20,2033-05-29,2033-05-29,2038-04-23
`

// on is a host at a day, with both tables and debootstrap's scripts.
func on(day string, without ...string) func(distro string) Known {
	fsys := fstest.MapFS{
		"usr/share/distro-info/debian.csv":          {Data: []byte(debianTable)},
		"usr/share/distro-info/ubuntu.csv":          {Data: []byte(ubuntuTable)},
		"usr/share/debootstrap/scripts/sid":         {},
		"usr/share/debootstrap/scripts/gutsy":       {},
		"usr/share/debootstrap/scripts/etch":        {},
		"usr/share/debootstrap/scripts/trixie":      {Data: []byte("sid"), Mode: 0o777 | 1<<27},
		"usr/share/debootstrap/scripts/stable":      {Data: []byte("sid"), Mode: 0o777 | 1<<27},
		"usr/share/debootstrap/scripts/groovy":      {Data: []byte("gutsy"), Mode: 0o777 | 1<<27},
		"usr/share/debootstrap/scripts/hirsute":     {Data: []byte("groovy"), Mode: 0o777 | 1<<27},
		"usr/share/debootstrap/scripts/loop":        {Data: []byte("loop"), Mode: 0o777 | 1<<27},
		"usr/share/debootstrap/scripts/kali":        {},
		"usr/share/debootstrap/scripts/kali-moving": {Data: []byte("kali"), Mode: 0o777 | 1<<27},
	}
	for _, name := range without {
		for file := range fsys {
			if strings.Contains(file, name) {
				delete(fsys, file)
			}
		}
	}
	today, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return func(distro string) Known { return Read(fsys, distro, today) }
}

func TestTheCurrentReleaseFollowsTheCalendar(t *testing.T) {
	for _, c := range []struct{ day, distro, name, want string }{
		{"2026-11-23", Debian, "stable", "trixie"},
		{"2026-11-23", Debian, "oldstable", "bookworm"},
		{"2026-11-23", Debian, "testing", "forky"},
		{"2026-11-23", Debian, "unstable", "sid"},
		{"2026-11-23", Debian, "sid", "sid"},
		{"2026-11-23", Debian, "bookworm", "bookworm"},
		{"2026-11-23", Debian, "experimental", ""},
		{"2026-11-23", Debian, "nosuch", ""},
		{"2025-08-08", Debian, "stable", "bookworm"},
		{"2025-08-08", Debian, "testing", "trixie"},
		{"2025-08-09", Debian, "stable", "trixie"},
		{"2026-11-23", Ubuntu, "noble", "noble"},
		{"2026-11-23", Ubuntu, "stable", ""},
	} {
		if got := on(c.day)(c.distro).Codename(c.name); got != c.want {
			t.Errorf("on %s %s of %s is %q, want %q", c.day, c.name, c.distro, got, c.want)
		}
	}
}

func TestTheDefaultIsStableOrTheNewestWithLongSupport(t *testing.T) {
	for _, c := range []struct{ day, distro, want string }{
		{"2026-11-23", Debian, "trixie"},
		{"2025-01-01", Debian, "bookworm"},
		{"2026-11-23", Ubuntu, "resolute"},
		{"2026-01-01", Ubuntu, "noble"},
	} {
		if got := on(c.day)(c.distro).Default(); got != c.want {
			t.Errorf("on %s the default of %s is %q, want %q", c.day, c.distro, got, c.want)
		}
	}
	if got := on("2026-11-23", "distro-info")(Debian).Default(); got != "stable" {
		t.Errorf("without a table the default of Debian is %q, want the alias", got)
	}
	if got := on("2026-11-23", "distro-info")(Ubuntu).Default(); got != "" {
		t.Errorf("without a table the default of Ubuntu is %q, want none", got)
	}
}

func TestReleasesOnOfferAreThoseStillServed(t *testing.T) {
	for name, c := range map[string]struct {
		known Known
		want  []string
	}{
		"debian":               {on("2026-11-23")(Debian), []string{"sid", "forky", "trixie", "bookworm", "stable", "testing", "unstable", "oldstable"}},
		"debian, earlier":      {on("2024-10-01")(Debian), []string{"sid", "trixie", "bookworm", "bullseye", "stable", "testing", "unstable", "oldstable"}},
		"ubuntu":               {on("2026-11-23")(Ubuntu), []string{"resolute", "noble"}},
		"debian, scripts only": {on("2026-11-23", "distro-info")(Debian), []string{"sid", "trixie", "stable", "testing", "unstable", "oldstable"}},
		"ubuntu, scripts only": {on("2026-11-23", "distro-info")(Ubuntu), []string{"groovy", "hirsute"}},
		"debian, nothing":      {on("2026-11-23", "usr")(Debian), []string{"stable", "testing", "unstable", "oldstable"}},
		"ubuntu, nothing":      {on("2026-11-23", "usr")(Ubuntu), nil},
	} {
		if diff := cmp.Diff(c.want, c.known.Names()); diff != "" {
			t.Errorf("%s: names differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestAReleaseIsKnownByTableOrScript(t *testing.T) {
	for _, c := range []struct {
		known Known
		name  string
		want  bool
	}{
		{on("2026-11-23")(Debian), "bullseye", true},
		{on("2026-11-23")(Debian), "duke", true},
		{on("2026-11-23")(Debian), "stable", true},
		{on("2026-11-23")(Debian), "nosuch", false},
		{on("2026-11-23")(Debian), "noble", false},
		{on("2026-11-23")(Debian), "kali-moving", false},
		{on("2026-11-23")(Debian), "experimental", false},
		{on("2026-11-23", "distro-info")(Debian), "trixie", true},
		{on("2026-11-23", "distro-info")(Debian), "bookworm", false},
		{on("2026-11-23")(Ubuntu), "hirsute", true},
		{on("2026-11-23")(Ubuntu), "stable", false},
	} {
		if got := c.known.Has(c.name); got != c.want {
			t.Errorf("%s of %s: %v, want %v", c.name, c.known.Distro, got, c.want)
		}
	}
	if !on("2026-11-23", "usr")(Debian).Empty() || on("2026-11-23", "distro-info")(Debian).Empty() {
		t.Error("a host that knows nothing is not told from one that does")
	}
	if k := on("2026-11-23")(Debian); !k.Released("trixie") || k.Released("forky") || k.Released("") || k.Version("trixie") != "13" {
		t.Error("trixie is 13 and out, forky is not")
	}
}

func TestEveryReleaseHasTheSuitesThatItHas(t *testing.T) {
	for _, c := range []struct{ distro, suite, updates, security string }{
		{Debian, "trixie", "trixie-updates", "trixie-security"},
		{Debian, "stable", "stable-updates", "stable-security"},
		{Debian, "testing", "testing-updates", "testing-security"},
		{Debian, "buster", "buster-updates", "buster/updates"},
		{Debian, "sid", "", ""},
		{Debian, "unstable", "", ""},
		{Ubuntu, "noble", "noble-updates", "noble-security"},
	} {
		if u, s := UpdatesSuite(c.distro, c.suite), SecuritySuite(c.distro, c.suite); u != c.updates || s != c.security {
			t.Errorf("%s has %q and %q, want %q and %q", c.suite, u, s, c.updates, c.security)
		}
	}
}

func TestHistoryIsOnlyHistory(t *testing.T) {
	for _, c := range []struct {
		distro, name                          string
		ancient, resolved, merged, usrIsMerge bool
	}{
		{Debian, "trixie", false, true, true, false},
		{Debian, "bookworm", false, true, true, true},
		{Debian, "bullseye", false, false, true, false},
		{Debian, "buster", false, false, false, false},
		{Debian, "wheezy", true, false, false, false},
		{Debian, "not-made-yet", false, true, true, false},
		{Ubuntu, "jammy", false, false, true, false},
		{Ubuntu, "noble", false, true, true, false},
		{Ubuntu, "trusty", true, false, false, false},
		{Ubuntu, "bookworm", false, true, true, false},
	} {
		got := []bool{Ancient(c.distro, c.name), ResolvedApart(c.distro, c.name), MergedUsr(c.distro, c.name), UsrIsMerged(c.distro, c.name)}
		if diff := cmp.Diff([]bool{c.ancient, c.resolved, c.merged, c.usrIsMerge}, got); diff != "" {
			t.Errorf("%s %s differs (-want +got):\n%s", c.distro, c.name, diff)
		}
	}
}

func TestATableThatIsNoneIsAnError(t *testing.T) {
	for _, text := range []string{"", "a,b\n1,2\n", "series\n\"x"} {
		if releases, err := ParseTable(strings.NewReader(text)); err == nil {
			t.Errorf("%q gives %v", text, releases)
		}
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add(debianTable, "stable")
	f.Add(ubuntuTable, "noble")
	f.Add("series,created,release\n,,\nx,9999-99-99,\n", "testing")
	f.Fuzz(func(t *testing.T, text, name string) {
		releases, err := ParseTable(strings.NewReader(text))
		if err != nil {
			return
		}
		k := Known{Distro: Debian, Releases: releases, Today: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		if got := k.Codename(name); got != "" && !k.Has(name) {
			t.Errorf("%q stands for %q but is not known", name, got)
		}
		k.Names()
		k.Default()
	})
}
