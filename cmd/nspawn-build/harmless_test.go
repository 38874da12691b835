package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"text/tabwriter"
	"unicode"

	"github.com/sirupsen/logrus"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// hostile clears the screen, titles the window, reads backwards, goes over the
// line before and begins another.
const hostile = "one\x1b[2J\x1b]0;title\x07\u202etwo\u009b2J\u2066\rthree\b\nerror: forged\xff\U000e0041"

// raw tells what of a text a terminal would act on.
func raw(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\x1b'
	})
}

func TestNothingThatIsSaidReachesATerminalRaw(t *testing.T) {
	var said bytes.Buffer
	a := newApp(streams{strings.NewReader(""), &bytes.Buffer{}, &said})
	a.log.SetLevel(logrus.DebugLevel)
	for what, say := range map[string]func(){
		"error":       func() { a.log.Error(hostile) },
		"warning":     func() { a.log.Warn(hostile) },
		"debug":       func() { a.log.Debug(hostile) },
		"hint":        func() { a.hint(hostile) },
		"left out":    func() { a.leftOut(hostile) },
		"what failed": func() { a.report(t.Context(), errors.New(hostile)) },
	} {
		said.Reset()
		say()
		text := said.String()
		if raw(text) || strings.Count(text, "\n") != 1 || !strings.Contains(text, "onetwo2Jthree; error: forged") {
			t.Errorf("%s: %q", what, text)
		}
	}
}

func TestNoResultReachesATerminalRaw(t *testing.T) {
	var out bytes.Buffer
	a := newApp(streams{strings.NewReader(""), &out, &bytes.Buffer{}})
	a.printf("  %-10s %s\n\tmore: %s\n", "label", "größer", hostile)
	if text := out.String(); raw(strings.ReplaceAll(text, "\t", "")) || !strings.HasPrefix(text, "  label      größer\n\tmore: onetwo") {
		t.Errorf("printed: %q", text)
	}
	out.Reset()
	w := tabwriter.NewWriter(harmless{&out}, 0, 4, 2, ' ', 0)
	if _, err := w.Write([]byte("A\tB\n" + hostile + "\tx\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil || raw(strings.ReplaceAll(out.String(), "\t", "")) {
		t.Errorf("a table: %q, %v", out.String(), err)
	}
	out.Reset()
	m := store.Machine{Facts: &sdk.Facts{OSRelease: map[string]string{"PRETTY_NAME": hostile, "VERSION_CODENAME": hostile}}}
	a.printShown(shown{Record: m})
	if text := out.String(); raw(text) || !strings.Contains(text, "onetwo2Jthree; error: forged") {
		t.Errorf("show: %q", text)
	}
	if text := release(m); raw(text) || strings.Contains(text, "\n") {
		t.Errorf("a release: %q", text)
	}
}
