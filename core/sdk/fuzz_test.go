package sdk

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// FuzzReadLines checks that lines do not depend on how the output arrives, and
// that none is longer than it may be.
func FuzzReadLines(f *testing.F) {
	for _, seed := range []string{"", "a", "a\nb\r\nc", "\r\r\n", strings.Repeat("x", 2*MaxText) + "\ny", "\x1b[3\n1m"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, output []byte) {
		var whole, bytewise []string
		if err := ReadLines(bytes.NewReader(output), func(l string) { whole = append(whole, l) }); err != nil {
			t.Fatal(err)
		}
		if err := ReadLines(iotest.OneByteReader(bytes.NewReader(output)), func(l string) { bytewise = append(bytewise, l) }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole, bytewise); diff != "" {
			t.Errorf("at once and byte by byte differ:\n%s", diff)
		}
		for _, l := range whole {
			if len(l) > MaxText || strings.ContainsAny(l, "\r\n\x1b\x00") {
				t.Errorf("line %q", l)
			}
		}
	})
}

// FuzzParseOSRelease checks that no tree can make a field that is not a name
// with a clean value.
func FuzzParseOSRelease(f *testing.F) {
	for _, seed := range []string{"ID=debian\n", `NAME="a\"b"`, "A='", `B="`, "C=\\", "=x", "lower=1", "ID=a\nID=b", "\x00=\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		fields, err := ParseOSRelease(strings.NewReader(content))
		if err != nil {
			return
		}
		for name, value := range fields {
			if !fieldName(name) || Clean(value, 1024) != value {
				t.Errorf("%q=%q", name, value)
			}
		}
	})
}

func TestAnErrorOfReadingIsToldAfterWhatWasRead(t *testing.T) {
	var got []string
	err := ReadLines(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("abc"))), func(l string) { got = append(got, l) })
	if err == nil || len(got) != 1 || got[0] != "a" {
		t.Errorf("%q, %v", got, err)
	}
}
