package main

import (
	"io"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/driver/console"
)

// Names, errors and descriptions come from machines, trees, plugins and
// registries, and may hold anything. What people read goes through here, as the
// last thing: nothing reaches a terminal that it would act on, or that reorders
// what is shown. JSON is as it is: a terminal is no reader of it.

// harmlessLine is text as one line.
func harmlessLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	for i := range lines {
		lines[i] = console.Clean(lines[i])
	}
	return strings.Join(lines, "; ")
}

// harmless passes on what is printed, but for that; lines and columns stay.
type harmless struct{ to io.Writer }

func (h harmless) Write(p []byte) (int, error) {
	var b strings.Builder
	for text := string(p); text != ""; {
		end := strings.IndexAny(text, "\n\t")
		if end < 0 {
			b.WriteString(console.Clean(text))
			break
		}
		b.WriteString(console.Clean(text[:end]))
		b.WriteByte(text[end])
		text = text[end+1:]
	}
	if _, err := io.WriteString(h.to, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}
