package testhost

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const stanzas = `Types: deb
# a comment
URIs: http://mirror.example.org/debian
Suites: oldname oldname-updates
Components: main
Signed-By: /usr/share/keyrings/k.gpg

Types: deb deb-src
URIs: http://mirror.example.org:8080/security
Suites: oldname-security
Components: main contrib

Types: deb-src
URIs: http://sources.example.org/debian
Suites: oldname
Components: main

Types: deb
Enabled: no
URIs: http://off.example.org/debian
Suites: oldname
Components: main

Types: deb
URIs: https://vendor.example.org/apt
Suites: stable
Components: main
`

const oneLine = `# deb http://no.example.org/debian oldname main
deb http://mirror.example.org/debian oldname main contrib
deb [arch=amd64 signed-by=/k.gpg] https://mirror.example.org/debian oldname-updates main
deb-src http://mirror.example.org/debian oldname main
deb http://mirror.example.org/debian oldnames main
`

func readSources(t *testing.T, files map[string]string) []source {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sources, err := debianSources(dir, "oldname")
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

func TestSourcesOfThisReleaseAreRewrittenForAnother(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"stanzas", map[string]string{"sources.list.d/debian.sources": stanzas}, `Types: deb
URIs: http://mirror.example.org/debian
Suites: newname newname-updates
Components: main
Signed-By: /usr/share/keyrings/k.gpg

Types: deb
URIs: http://mirror.example.org:8080/security
Suites: newname-security
Components: main contrib

`},
		{"one line each", map[string]string{"sources.list": oneLine}, `Types: deb
URIs: http://mirror.example.org/debian
Suites: newname
Components: main contrib

Types: deb
URIs: https://mirror.example.org/debian
Suites: newname-updates
Components: main
Signed-By: /k.gpg

`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := forSuite(readSources(t, c.files), "oldname", "newname")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("sources (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryMirrorIsForwardedOnce(t *testing.T) {
	sources := readSources(t, map[string]string{"sources.list.d/a.sources": stanzas, "sources.list": oneLine})
	got, err := upstreams(sources)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"mirror.example.org:443", "mirror.example.org:80", "mirror.example.org:8080"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("upstreams (-want +got):\n%s", diff)
	}
}

func TestAMirrorThatCannotBeForwardedIsRefused(t *testing.T) {
	sources := readSources(t, map[string]string{"sources.list": "deb file:///srv/debian oldname main\n"})
	if got, err := upstreams(sources); err == nil {
		t.Errorf("got %q, want an error", got)
	}
}

func TestAMachineWithoutDebianSourcesIsToldSo(t *testing.T) {
	if got, err := debianSources(t.TempDir(), "oldname"); err == nil {
		t.Errorf("got %v, want an error", got)
	}
}

func TestTheMainSourceIsNotItsUpdates(t *testing.T) {
	sources := readSources(t, map[string]string{"sources.list": "deb http://u.example.org/d oldname-updates main\ndeb http://m.example.org/d oldname main\n"})
	got, err := mainSource(sources, "oldname")
	if err != nil || got.URI.Host != "m.example.org" {
		t.Errorf("got %v, %v", got.URI, err)
	}
}

func TestCodenameOfOSRelease(t *testing.T) {
	for text, want := range map[string]string{
		"ID=debian\nVERSION_CODENAME=bookworm\n": "bookworm",
		"VERSION_CODENAME=\"trixie\"\n":          "trixie",
		"ID=arch\n":                              "",
	} {
		file := filepath.Join(t.TempDir(), "os-release")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := codename(file)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
}
