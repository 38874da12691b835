package aptsource

import (
	"bufio"
	"io"
	"slices"
	"strings"
)

// maxLine bounds a line; a key in place is many short ones.
const maxLine = 64 << 10

// ParseList reads the one-line format. What is no usable source of binary
// packages is passed over.
func ParseList(r io.Reader) ([]Source, error) {
	var sources []Source
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		line, _, _ := strings.Cut(in.Text(), "#")
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || line == "" || !strings.ContainsAny(line[:1], " \t") {
			continue // deb-src among others
		}
		line = strings.TrimSpace(line)
		var options string
		if strings.HasPrefix(line, "[") {
			options, line, ok = strings.Cut(line[1:], "]")
			if !ok {
				continue
			}
		}
		words := strings.Fields(line)
		if len(words) < 3 {
			continue // a flat repository has no components
		}
		source := Source{URIs: words[:1], Suites: words[1:2], Components: words[2:]}
		for option := range strings.FieldsSeq(options) {
			if value, ok := strings.CutPrefix(option, "signed-by="); ok {
				source.SignedBy = keyringPath(value)
			}
		}
		sources = appendUsable(sources, source)
	}
	return sources, in.Err()
}

// ParseStanzas reads the deb822 format. What is no usable source of binary
// packages, or switched off, is passed over.
func ParseStanzas(r io.Reader) ([]Source, error) {
	var sources []Source
	fields := map[string]string{}
	finish := func() {
		types := strings.Fields(fields["types"])
		if slices.Contains(types, "deb") && !switchedOff(fields["enabled"]) {
			sources = appendUsable(sources, Source{
				URIs:       strings.Fields(fields["uris"]),
				Suites:     strings.Fields(fields["suites"]),
				Components: strings.Fields(fields["components"]),
				SignedBy:   keyringPath(fields["signed-by"]),
			})
		}
		clear(fields)
	}
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	name := ""
	for in.Scan() {
		line := strings.TrimRight(in.Text(), " \t\r")
		switch {
		case strings.HasPrefix(line, "#"): // a comment may stand inside a field
		case line == "":
			finish()
			name = ""
		case line[0] == ' ' || line[0] == '\t':
			if name != "" {
				fields[name] += "\n" + strings.TrimSpace(line)
			}
		default:
			var value string
			name, value, _ = strings.Cut(line, ":")
			name = strings.ToLower(strings.TrimSpace(name))
			fields[name] = strings.TrimSpace(value)
		}
	}
	finish()
	return sources, in.Err()
}

// switchedOff understands what apt takes for no.
func switchedOff(enabled string) bool {
	switch strings.ToLower(enabled) {
	case "no", "false", "without", "off", "disable", "0":
		return true
	}
	return false
}

// appendUsable appends source with those of its URIs that can be used.
func appendUsable(sources []Source, source Source) []Source {
	source.URIs = slices.DeleteFunc(slices.Clone(source.URIs), func(uri string) bool {
		return CheckURI(uri) != nil
	})
	if len(source.URIs) == 0 || len(source.Suites) == 0 || len(source.Components) == 0 {
		return sources
	}
	return append(sources, source)
}
