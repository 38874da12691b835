package matrix

import (
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// Bounds of the end of a log that a report shows.
const (
	tailLines = 40
	tailBytes = 16 << 10
)

// escapes are the sequences by which programs colour what they print.
var escapes = regexp.MustCompile(`\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-_])`)

// tail reads the last lines of a log, as text and nothing else.
func tail(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	from := max(0, info.Size()-tailBytes)
	data, err := io.ReadAll(io.NewSectionReader(f, from, tailBytes))
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if from > 0 {
		lines = lines[1:] // it began amid a line
	}
	lines = lines[max(0, len(lines)-tailLines):]
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines
}

// plain is a line as everything can show it.
func plain(line string) string {
	if i := strings.LastIndexByte(strings.TrimRight(line, "\r"), '\r'); i >= 0 {
		line = line[i+1:] // it was written over
	}
	line = escapes.ReplaceAllString(strings.ToValidUTF8(line, "�"), "")
	return strings.Map(func(r rune) rune {
		if r == '\t' || !unicode.IsControl(r) && r != 0xfffe && r != 0xffff {
			return r
		}
		return -1
	}, line)
}
