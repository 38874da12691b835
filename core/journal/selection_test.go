package journal

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatJournalctlUnderstandsIsLetThrough(t *testing.T) {
	for _, time := range []string{
		"2026-01-31", "2026-01-31 12:00", "2026-01-31 12:00:01.5", "2026-01-31T12:00:01Z", "2026-01-31 12:00 UTC", "2026-01-31 12:00 Europe/Berlin",
		"Sat 2026-01-31", "12:00", "9:05:01", "now", "today", "yesterday", "tomorrow", "-1h", "-1h 30min", "+5s", "2h ago", "3 days ago", "@1700000000", "@1700000000.5",
	} {
		if found := (Selection{Since: time, Until: time}).Check(); len(found) != 0 {
			t.Errorf("%q: %v", time, found)
		}
	}
	for _, s := range []Selection{
		{},
		{Units: []string{"ssh.service", "systemd-*", `dev-disk-by\x2did.swap`, "getty@tty1", "[a-z]*"}},
		{Boot: "0"},
		{Boot: "-1"},
		{Boot: "+2"},
		{Boot: "all"},
		{Boot: strings.Repeat("a1", 16)},
		{Boot: strings.Repeat("a1", 16) + "-1"},
		{Lines: "1"},
		{Lines: "all"},
		{Priority: "err"},
		{Priority: "0"},
		{Priority: "7"},
		{Priority: "err..notice"},
		{Priority: "3..5"},
		{Grep: "--follow"},
		{Grep: "a.*b|é"},
		{Output: "json"},
		{Output: "short-iso-precise"},
	} {
		if found := s.Check(); len(found) != 0 {
			t.Errorf("%+v: %v", s, found)
		}
	}
}

func TestWhatJournalctlWouldNotUnderstandIsSaidWithAHint(t *testing.T) {
	tests := []struct {
		s     Selection
		field string
	}{
		{Selection{Units: []string{"ok", "a b"}}, "unit"},
		{Selection{Units: []string{""}}, "unit"},
		{Selection{Units: []string{"../etc"}}, "unit"},
		{Selection{Since: "last week"}, "since"},
		{Selection{Since: "2026-13-01"}, "since"},
		{Selection{Since: "2026-01-31 25:00"}, "since"},
		{Selection{Since: "1h"}, "since"},
		{Selection{Since: "-1h ago"}, "since"},
		{Selection{Since: " "}, "since"},
		{Selection{Since: "yesterday\n"}, "since"},
		{Selection{Until: "-5"}, "until"},
		{Selection{Boot: "last"}, "boot"},
		{Selection{Boot: "--file=/x"}, "boot"},
		{Selection{Lines: "0"}, "lines"},
		{Selection{Lines: "-5"}, "lines"},
		{Selection{Lines: "many"}, "lines"},
		{Selection{Priority: "error"}, "priority"},
		{Selection{Priority: "8"}, "priority"},
		{Selection{Priority: "err.."}, "priority"},
		{Selection{Grep: "a\nb"}, "grep"},
		{Selection{Output: "xml"}, "output"},
	}
	for _, tt := range tests {
		found := tt.s.Check()
		if len(found) != 1 || found[0].Field != tt.field || found[0].Hint == "" {
			t.Errorf("%+v: %v", tt.s, found)
		}
	}
}

func TestNoValueIsTakenForAnOption(t *testing.T) {
	s := Selection{Units: []string{"-a", "b"}, Since: "-1h", Boot: "-1", Grep: "--file=/etc/shadow", Lines: "all", Follow: true}
	want := []string{
		"journalctl", "--no-pager", "--unit=-a", "--unit=b", "--since=-1h", "--boot=-1", "--grep=--file=/etc/shadow", "--lines=all", "--follow",
	}
	if diff := cmp.Diff(want, s.command()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAllIsPrintedOfWhatIsBounded(t *testing.T) {
	for _, tt := range []struct {
		s    Selection
		want string
	}{
		{Selection{}, "--lines=100"},
		{Selection{Units: []string{"a"}, Priority: "err"}, "--lines=100"},
		{Selection{Since: "today"}, ""},
		{Selection{Boot: "0"}, ""},
		{Selection{Grep: "x"}, ""},
		{Selection{Grep: "x", Lines: "3"}, "--lines=3"},
		{Selection{Lines: "all"}, ""},
	} {
		var got string
		for _, word := range tt.s.command() {
			if strings.HasPrefix(word, "--lines") {
				got = word
			}
		}
		if got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.s, got, tt.want)
		}
	}
}
