package testhost

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one stanza of the apt sources of the machine that the tests run
// on: the only place where the name of a mirror comes from.
type source struct {
	URI        *url.URL
	Suites     []string
	Components []string
	SignedBy   string
}

// debianSources reads the stanzas below etcApt that serve the given codename.
// Other repositories (a browser's, a database's) are no business of a host.
func debianSources(etcApt, codename string) ([]source, error) {
	var files []string
	for _, pattern := range []string{"sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"} {
		found, err := filepath.Glob(filepath.Join(etcApt, pattern))
		if err != nil {
			return nil, fmt.Errorf("look for apt sources: %w", err)
		}
		files = append(files, found...)
	}
	var all []source
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read apt sources: %w", err)
		}
		parse := parseOneLine
		if strings.HasSuffix(f, ".sources") {
			parse = parseStanzas
		}
		found, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		all = append(all, found...)
	}
	all = slices.DeleteFunc(all, func(s source) bool {
		return !slices.ContainsFunc(s.Suites, func(suite string) bool {
			return suite == codename || strings.HasPrefix(suite, codename+"-")
		})
	})
	if len(all) == 0 {
		return nil, fmt.Errorf("the apt sources below %s name no mirror of %q", etcApt, codename)
	}
	return all, nil
}

// parseStanzas reads the deb822 format.
func parseStanzas(text string) ([]source, error) {
	var all []source
	for stanza := range strings.SplitSeq(text, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(stanza) {
			key, value, ok := strings.Cut(line, ":")
			if ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, " ") {
				fields[strings.ToLower(key)] = strings.TrimSpace(value)
			}
		}
		if !slices.Contains(strings.Fields(fields["types"]), "deb") || fields["enabled"] == "no" {
			continue
		}
		for uri := range strings.FieldsSeq(fields["uris"]) {
			u, err := url.Parse(uri)
			if err != nil {
				return nil, fmt.Errorf("apt source: %w", err)
			}
			all = append(all, source{u, strings.Fields(fields["suites"]), strings.Fields(fields["components"]), fields["signed-by"]})
		}
	}
	return all, nil
}

// parseOneLine reads the `deb [options] URI SUITE COMPONENT…` format.
func parseOneLine(text string) ([]source, error) {
	var all []source
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		rest, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "deb ")
		if !ok {
			continue
		}
		var signedBy string
		if options, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(strings.TrimSpace(rest), "[") {
			rest = after
			for option := range strings.FieldsSeq(strings.Trim(options, " [")) {
				if v, ok := strings.CutPrefix(option, "signed-by="); ok {
					signedBy = v
				}
			}
		}
		words := strings.Fields(rest)
		if len(words) < 3 {
			continue
		}
		u, err := url.Parse(words[0])
		if err != nil {
			return nil, fmt.Errorf("apt source: %w", err)
		}
		all = append(all, source{u, words[1:2], words[2:], signedBy})
	}
	return all, lines.Err()
}

// forSuite renders sources with one codename put in place of another, as a
// deb822 file of a user whose host runs that suite.
func forSuite(sources []source, codename, suite string) string {
	var b strings.Builder
	for _, s := range sources {
		suites := make([]string, 0, len(s.Suites))
		for _, name := range s.Suites {
			suites = append(suites, suite+strings.TrimPrefix(name, codename))
		}
		fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n",
			s.URI, strings.Join(suites, " "), strings.Join(s.Components, " "))
		if strings.HasPrefix(s.SignedBy, "/") {
			fmt.Fprintf(&b, "Signed-By: %s\n", s.SignedBy)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// main is the first source that carries the plain suite, not its updates.
func mainSource(sources []source, codename string) (source, error) {
	for _, s := range sources {
		if slices.Contains(s.Suites, codename) {
			return s, nil
		}
	}
	return source{}, fmt.Errorf("no apt source carries %q itself", codename)
}

// upstreams lists the host:port pairs that the sources are fetched from.
func upstreams(sources []source) ([]string, error) {
	var all []string
	for _, s := range sources {
		port := s.URI.Port()
		switch {
		case port != "":
		case s.URI.Scheme == "http":
			port = "80"
		case s.URI.Scheme == "https":
			port = "443"
		default:
			return nil, fmt.Errorf("apt source %s: only http and https can be forwarded", s.URI)
		}
		all = append(all, net.JoinHostPort(s.URI.Hostname(), port))
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// codename is VERSION_CODENAME of an os-release file.
func codename(osRelease string) (string, error) {
	text, err := os.ReadFile(osRelease)
	if err != nil {
		return "", fmt.Errorf("read os-release: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			return strings.Trim(strings.TrimSpace(v), `"`), nil
		}
	}
	return "", errors.New(osRelease + " has no VERSION_CODENAME")
}
