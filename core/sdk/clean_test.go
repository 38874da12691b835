package sdk

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestNothingThatMovesTheCursorSurvivesClean(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		max  int
		want string
	}{
		"plain":                   {"Setting up libc6 (2.36-9) ...", 80, "Setting up libc6 (2.36-9) ..."},
		"colour":                  {"\x1b[1;31mE:\x1b[0m no", 80, "E: no"},
		"cursor and erase":        {"a\x1b[2K\x1b[1Gb", 80, "ab"},
		"window title, BEL":       {"\x1b]0;owned\x07text", 80, "text"},
		"hyperlink, ST":           {"\x1b]8;;http://x\x1b\\text", 80, "text"},
		"unfinished title":        {"text\x1b]0;owned", 80, "text"},
		"character set":           {"\x1b(0text", 80, "text"},
		"reset":                   {"\x1bctext", 80, "text"},
		"lone escape":             {"text\x1b", 80, "text"},
		"escape before UTF-8":     {"\x1bé", 80, "é"},
		"C1 CSI":                  {"a\u009b2Jb", 80, "a2Jb"},
		"tab, newline and return": {"a\tb\nc\rd", 80, "a b c d"},
		"bell, NUL and backspace": {"a\a\x00\bb", 80, "ab"},
		"text direction":          {"a\u202eb\u2066c\u200fd", 80, "abcd"},
		"line separator":          {"a\u2028b", 80, "ab"},
		"not UTF-8":               {"a\xffb", 80, "a\ufffdb"},
		"umlauts stay":            {"Paketlisten für größere …", 80, "Paketlisten für größere …"},
		"cut":                     {"abcdefgh", 7, "abcd…"},
		"cut between runes":       {"ééééé", 8, "éé…"},
		"exactly as long":         {"abcdefgh", 8, "abcdefgh"},
		"no room for the mark":    {"abc", 2, ""},
	} {
		if diff := cmp.Diff(c.want, Clean(c.in, c.max)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"a", "\x1b[31m", "\x1b]0;", "\xff\u202e", strings.Repeat("é", 50)} {
		f.Add(seed, 20)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit &= 0xff
		got := Clean(s, limit)
		if len(got) > limit {
			t.Errorf("%d bytes, more than %d", len(got), limit)
		}
		if !utf8.ValidString(got) {
			t.Errorf("not UTF-8: %q", got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || reorders(r) {
				t.Errorf("%U survived in %q", r, got)
			}
		}
		if again := Clean(got, limit); again != got {
			t.Errorf("cleaning %q again gives %q", got, again)
		}
	})
}

func TestLinesAreBoundedAndSplitWhereToolsRedraw(t *testing.T) {
	long := strings.Repeat("x", 3*MaxText)
	var got []string
	err := ReadLines(strings.NewReader("one\r\n10%\r20%\r\n\nlast without newline"), func(l string) { got = append(got, l) })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "10%", "20%", "last without newline"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = nil
	if err := ReadLines(strings.NewReader(long+"\nnext\n"), func(l string) { got = append(got, l) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got[0]) > MaxText || !strings.HasSuffix(got[0], "…") || got[1] != "next" {
		t.Errorf("an over-long line became %d lines, the first of %d bytes", len(got), len(got[0]))
	}
}

func TestTailKeepsTheLastLinesInOrder(t *testing.T) {
	tail := Tail{Max: 3}
	for _, l := range []string{"a", "b"} {
		tail.Add(l)
	}
	if diff := cmp.Diff([]string{"a", "b"}, tail.Lines()); diff != "" {
		t.Errorf("not full (-want +got):\n%s", diff)
	}
	for _, l := range []string{"c", "d", "e", "f", "g"} {
		tail.Add(l)
	}
	if diff := cmp.Diff([]string{"e", "f", "g"}, tail.Lines()); diff != "" {
		t.Errorf("full (-want +got):\n%s", diff)
	}
}
