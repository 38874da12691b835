// Package console keeps and reads what a machine printed while booting.
//
// A machine is hostile and may print anything, without end. What is kept is
// bounded, and what is read is free of control characters.
package console

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// sequence is a terminal's escape sequence: CSI, OSC, or one of two letters.
var sequence = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[ -/]*[0-~])")

// maxLine is in bytes.
const maxLine = 2000

// Lines splits what was printed into lines that are safe to show: no escape
// sequence, no control character, no line longer than 2000 bytes, none empty.
func Lines(text string) []string {
	var lines []string
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = Clean(line)
		if len(line) > maxLine {
			line = strings.ToValidUTF8(line[:maxLine], "") + "…"
		}
		if line = strings.TrimRight(line, " "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// Clean is a line without what a terminal would act on: escape sequences, control
// characters, text that runs backwards, and bytes that are no text.
func Clean(line string) string {
	line = sequence.ReplaceAllString(line, "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "\uFFFD"))
}

// Last returns the last n of lines.
func Last(lines []string, n int) []string {
	return lines[max(0, len(lines)-max(n, 0)):]
}

// harmless is what systemd-nspawn prints last on a host whose /run is on disk.
const harmless = "Attempted to remove disk file system"

// Reason picks the line that most likely says why a machine did not come up:
// the last one, as systemd-nspawn prints its complaint before it ends.
func Reason(lines []string) string {
	for _, line := range slices.Backward(lines) {
		if !strings.HasPrefix(line, harmless) {
			return line
		}
	}
	return "it printed nothing"
}
