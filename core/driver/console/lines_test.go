package console

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestLinesAreSafeToShow(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"plain", "one\ntwo\n", []string{"one", "two"}},
		{"carriage returns", "one\r\ntwo\rthree", []string{"one", "two", "three"}},
		{"empty lines are left out", "\n\none\n\n", []string{"one"}},
		{"colours", "[\x1b[0;32m  OK  \x1b[0m] Started it", []string{"[  OK  ] Started it"}},
		{"a title", "\x1b]0;evil title\x07text", []string{"text"}},
		{"a title ended the other way", "\x1b]0;evil\x1b\\text", []string{"text"}},
		{"a title without end", "\x1b]0;evil", nil},
		{"clearing the screen", "a\x1b[2J\x1b[Hb", []string{"ab"}},
		{"choosing a character set", "\x1b(Ba", []string{"a"}},
		{"eight-bit controls", "a\u009b2Jb", []string{"a2Jb"}},
		{"bells and backspaces", "a\x07\x08b\x00c", []string{"abc"}},
		{"a lone escape", "a\x1b", []string{"a"}},
		{"text that runs backwards", "a\u202eb", []string{"ab"}},
		{"bytes that are no text", "a\xff\xfeb", []string{"a\uFFFDb"}},
		{"tabs", "a\tb", []string{"a b"}},
		{"nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Lines(tt.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoLineHasControlCharactersOrNoEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.SampledFrom([]byte("ab\x1b[]0;\x07\\\x9b\xc2\xff\n\r(B2J")), 0, 200).Draw(t, "text"))
		for _, line := range Lines(text) {
			if strings.ContainsFunc(line, unicode.IsControl) || !utf8.ValidString(line) || line == "" {
				t.Fatalf("%q became %q", text, line)
			}
		}
	})
	if got := Lines(strings.Repeat("é", 1<<16)); len(got) != 1 || len(got[0]) > maxLine+len("…") || !utf8.ValidString(got[0]) {
		t.Errorf("a line of %d bytes came through", len(got[0]))
	}
}

func TestLastLines(t *testing.T) {
	lines := []string{"a", "b", "c"}
	for n, want := range map[int][]string{-1: {}, 0: {}, 2: {"b", "c"}, 3: lines, 9: lines} {
		if diff := cmp.Diff(want, Last(lines, n)); diff != "" {
			t.Errorf("%d (-want +got):\n%s", n, diff)
		}
	}
}

func TestReasonIsTheLastComplaint(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"the last line", []string{"a", "execv failed"}, "execv failed"},
		{
			"not what means nothing",
			[]string{"execv failed", `Attempted to remove disk file system under "/run/x", and we can't allow that.`},
			"execv failed",
		},
		{"silence", nil, "it printed nothing"},
	}
	for _, tt := range tests {
		if got := Reason(tt.lines); got != tt.want {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
}
