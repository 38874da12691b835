package sdk

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxText is the longest line, message or hint, in bytes, that crosses the
// protocol. What is longer is cut, and the cut shown.
const MaxText = 4096

// Clean makes text from a tool or a plugin safe to show on a terminal and to
// log: one line of valid UTF-8 of at most maxBytes bytes, without escape
// sequences, control characters or characters that reorder what is shown.
func Clean(text string, maxBytes int) string {
	// What lies far beyond the limit is not even looked at.
	if limit := 4*maxBytes + utf8.UTFMax; len(text) > limit {
		text = text[:limit]
	}
	if len(text) <= maxBytes && plain(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		if text[0] == 0x1b {
			text = text[escapeLength(text):]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			r = ' '
		case unicode.IsControl(r) || reorders(r):
			continue
		}
		if b.Len()+utf8.RuneLen(r) > maxBytes {
			return cut(b.String(), maxBytes)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plain reports whether s is printable ASCII, as nearly every line is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// escapeLength is the length of the escape sequence that s begins with
// (ECMA-48: CSI sequences, and strings such as OSC up to BEL or ST).
func escapeLength(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
		}
		return len(s)
	case ']', 'P', 'X', '^', '_':
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\' {
				return i + 2
			}
		}
		return len(s)
	}
	if s[1] >= 0x20 && s[1] <= 0x2f && len(s) > 2 {
		return 3
	}
	if s[1] < utf8.RuneSelf {
		return 2
	}
	return 1
}

// reorders reports whether r changes the direction of the text around it, with
// which a line can be made to read as another, or breaks it in two.
func reorders(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 ||
		r == 0x200e || r == 0x200f || r == 0x061c || r == 0x2028 || r == 0x2029
}

// cut shortens s at a rune's boundary so that the mark of the cut fits.
func cut(s string, maxBytes int) string {
	const mark = "…"
	if maxBytes < len(mark) {
		return ""
	}
	for len(s) > maxBytes-len(mark) {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s + mark
}
