package aptsource

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestSourcesOfOneLineAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []Source
	}{
		"plain": {
			"deb http://mirror.example.org/debian bookworm main contrib\n",
			[]Source{{URIs: []string{"http://mirror.example.org/debian"}, Suites: []string{"bookworm"}, Components: []string{"main", "contrib"}}},
		},
		"options, tabs and a comment": {
			"deb\t[arch=amd64 signed-by=/etc/k.gpg]\thttps://mirror.example.org/debian/ bookworm main # note\n",
			[]Source{{URIs: []string{"https://mirror.example.org/debian/"}, Suites: []string{"bookworm"}, Components: []string{"main"}, SignedBy: "/etc/k.gpg"}},
		},
		"a key that is no path": {
			"deb [signed-by=ABCDEF0123456789] http://m.example.org/d s main\n",
			[]Source{{URIs: []string{"http://m.example.org/d"}, Suites: []string{"s"}, Components: []string{"main"}}},
		},
		"of no use": {
			"# deb http://m.example.org/d s main\ndeb-src http://m.example.org/d s main\ndebug x y z\n" +
				"deb http://m.example.org/flat ./\ndeb [arch=amd64 http://m.example.org/d s main\ndeb\n" +
				"deb cdrom:[Debian]/ s main\ndeb mirror+file:/etc/m.txt s main\ndeb http://me:pw@m.example.org/d s main\n",
			nil,
		},
	} {
		got, err := ParseList(strings.NewReader(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: sources differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestSourcesInStanzasAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []Source
	}{
		"with comments inside": {
			"# first\n\nTypes: deb deb-src\n# between\nURIs: http://m.example.org/d\nSuites: s s-updates\nComponents: main\nSigned-By: /k.gpg\n\n\n",
			[]Source{{URIs: []string{"http://m.example.org/d"}, Suites: []string{"s", "s-updates"}, Components: []string{"main"}, SignedBy: "/k.gpg"}},
		},
		"over several lines, in other case": {
			"types: deb\nuris:\n http://a.example.org/d\n cdrom:/x\n http://b.example.org/d\nSUITES: s\ncomponents: main\n",
			[]Source{{URIs: []string{"http://a.example.org/d", "http://b.example.org/d"}, Suites: []string{"s"}, Components: []string{"main"}}},
		},
		"a key in place": {
			"Types: deb\nURIs: http://m.example.org/d\nSuites: s\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQENBF\n -----END PGP PUBLIC KEY BLOCK-----\n",
			[]Source{{URIs: []string{"http://m.example.org/d"}, Suites: []string{"s"}, Components: []string{"main"}}},
		},
		"of no use": {
			"Types: deb-src\nURIs: http://m.example.org/d\nSuites: s\nComponents: main\n\n" +
				"Types: deb\nEnabled: no\nURIs: http://m.example.org/d\nSuites: s\nComponents: main\n\n" +
				"Types: deb\nURIs: http://m.example.org/flat\nSuites: ./\n\n continued\nnonsense\n: x\n",
			nil,
		},
	} {
		got, err := ParseStanzas(strings.NewReader(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: sources differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	want := []Source{
		{URIs: []string{"http://m.example.org/debian"}, Suites: []string{"s", "s-updates"}, Components: []string{"main", "contrib"}, SignedBy: "/k.gpg"},
		{URIs: []string{"file:///srv/debian"}, Suites: []string{"s-security"}, Components: []string{"main"}},
	}
	got, err := ParseStanzas(strings.NewReader(Render("of a test\nin two lines", want)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources differ (-want +got):\n%s", diff)
	}
}

func TestTheHostsArchiveIsToldFromThirdParties(t *testing.T) {
	const own = "deb http://m.example.org/debian bookworm main\ndeb http://m.example.org/debian bookworm-updates main\n"
	for name, c := range map[string]struct {
		list string
		want Archive
	}{
		"after third parties": {
			"deb [signed-by=/etc/apt/keyrings/x.gpg] http://third.example.org/apt bookworm main\n" +
				"deb http://other.example.org/tool bookworm main\n" + own + "deb http://s.example.org/debian-security bookworm-security main\n",
			Archive{URI: "http://m.example.org/debian", Security: "http://s.example.org/debian-security"},
		},
		"third parties only": {
			"deb [signed-by=/etc/apt/keyrings/x.gpg] http://third.example.org/debian bookworm main\ndeb http://other.example.org/tool bookworm main\n",
			Archive{},
		},
		"an own mirror that signs anew": {
			"deb [signed-by=/etc/apt/keyrings/corp.gpg] http://corp.example.org/d bookworm main\n" +
				"deb [signed-by=/etc/apt/keyrings/corp.gpg] http://corp.example.org/d bookworm-updates main\n" +
				"deb [signed-by=/etc/apt/keyrings/corp.gpg] http://corp.example.org/s/ bookworm/updates main\n",
			Archive{
				URI: "http://corp.example.org/d", SignedBy: "/etc/apt/keyrings/corp.gpg",
				Security: "http://corp.example.org/s", SecuritySignedBy: "/etc/apt/keyrings/corp.gpg",
			},
		},
		"by alias": {"deb http://m.example.org/debian/ stable main\n", Archive{URI: "http://m.example.org/debian"}},
		"without main": {
			"deb http://m.example.org/debian bookworm contrib\n", Archive{},
		},
		"security only": {"deb http://s.example.org/debian-security bookworm main\n", Archive{}},
		"nothing":       {"", Archive{}},
	} {
		fsys := fstest.MapFS{"etc/apt/sources.list": {Data: []byte(c.list)}}
		got := FindArchive(ReadHost(fsys), "debian", []string{"bookworm", "stable"})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: the archive differs (-want +got):\n%s", name, diff)
		}
	}
}

func TestSourcesAreReadFromAllFilesThatAptReads(t *testing.T) {
	line := func(name string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("deb http://" + name + ".example.org/d s main\n")}
	}
	fsys := fstest.MapFS{
		"etc/apt/sources.list":                      line("a"),
		"etc/apt/sources.list.d/b.list":             line("b"),
		"etc/apt/sources.list.d/c.list.disabled":    line("c"),
		"etc/apt/sources.list.d/d.sources":          {Data: []byte("Types: deb\nURIs: http://d.example.org/d\nSuites: s\nComponents: main\n")},
		"etc/apt/sources.list.d/e.sources":          {Data: []byte("\x00\xff nonsense")},
		"etc/apt/sources.list.d/f.list":             {Mode: os.ModeDir},
		"etc/apt/sources.list.d/g.list":             {Data: []byte("deb " + strings.Repeat("x", 1<<20))},
		"etc/apt/sources.list.d/h.sources.disabled": line("h"),
	}
	var got []string
	for _, s := range ReadHost(fsys) {
		got = append(got, Host(s.URIs[0]))
	}
	if diff := cmp.Diff([]string{"a.example.org", "b.example.org", "d.example.org"}, got); diff != "" {
		t.Errorf("hosts differ (-want +got):\n%s", diff)
	}
	if ReadHost(fstest.MapFS{}) != nil {
		t.Error("a host without apt has sources")
	}
}

func TestOnlyPlainURIsAreTaken(t *testing.T) {
	for uri, good := range map[string]bool{
		"http://mirror.example.org/debian": true, "https://mirror.example.org:8443/d/": true, "ftp://m.example.org/d": true,
		"file:///srv/debian": true, "file:/srv/debian": true, "http://[::1]/d": false, "http://127.0.0.1:1/d": true,
		"": false, "-x": false, "http://": false, "mirror.example.org/d": false, "file://srv/debian": false, "file:srv": false,
		"cdrom:/x": false, "copy:///x": false, "mirror+http://m.example.org/": false, "tor+http://m.example.org/": false,
		"http://a b/": false, "http://a\n/": false, "http://a/\x00": false, "http://a/'x'": false, `http://a/"x"`: false,
		"http://a/$(id)": false, "http://a/`id`": false, "http://a/\\": false, "http://me@a/": false, "http://me:pw@a/": false,
		"http://a/%zz": false, "http://a/?x": false, "http://a/#x": false, "http://a/\u202e": false,
	} {
		if err := CheckURI(uri); (err == nil) != good {
			t.Errorf("%q: %v, want it taken: %v", uri, err, good)
		}
	}
}

func TestAProbeIsANameOfTheDNS(t *testing.T) {
	for uri, want := range map[string]string{
		"http://Mirror.Example.org:80/d": "mirror.example.org", "http://mirror.example.org./d": "mirror.example.org",
		"http://127.0.0.1/d": "", "http://192.0.2.1:8080/d": "", "file:///srv": "", "http://localhost/d": "", "http://intranet/d": "",
		"http://localhost.localdomain/": "", "http://a.localhost/": "", "": "", "%": "",
	} {
		if got := DNSName(uri); got != want {
			t.Errorf("%q has the name %q, want %q", uri, got, want)
		}
	}
}

func TestMirrorsOfThisHostOnlyAreRecognised(t *testing.T) {
	for uri, want := range map[string]bool{
		"file:///srv/debian": true, "http://127.0.0.1:8000/d": true, "http://127.1.2.3/": true, "http://localhost:80/": true,
		"http://a.localhost/": true, "http://0.0.0.0/": true, "http://localhost.localdomain/d": true,
		"http://192.168.1.1/d": false, "https://mirror.example.org/d": false, "http://localhosts.example.org/": false,
	} {
		if got := OnlyHere(uri); got != want {
			t.Errorf("%q only here: %v, want %v", uri, got, want)
		}
	}
}

func TestSecurityIsRecognisedByName(t *testing.T) {
	for uri, want := range map[string]bool{
		"http://m.example.org/debian-security": true, "http://m.example.org/debian-security/": true,
		"http://security.example.org/ubuntu": true, "http://m.example.org/debian": false, "http://m.example.org/security/debian": false,
	} {
		if got := IsSecurity(uri); got != want {
			t.Errorf("%q is for security: %v, want %v", uri, got, want)
		}
	}
}

// checkUsable holds what every source that is read must keep to.
func checkUsable(t *testing.T, sources []Source) {
	t.Helper()
	for _, s := range sources {
		if len(s.URIs) == 0 || len(s.Suites) == 0 || len(s.Components) == 0 {
			t.Errorf("%+v is not whole", s)
		}
		for _, uri := range s.URIs {
			if CheckURI(uri) != nil {
				t.Errorf("%q is not to be used", uri)
			}
		}
		if s.SignedBy != "" && s.SignedBy[0] != '/' {
			t.Errorf("%q is no path", s.SignedBy)
		}
	}
	FindArchive(sources, "debian", []string{"bookworm"})
}

func FuzzParseList(f *testing.F) {
	f.Add("deb [signed-by=/k] http://m.example.org/d bookworm main # x\n")
	f.Add("deb []\ndeb [ ] a b c\ndeb\t\t\n")
	f.Fuzz(func(t *testing.T, text string) {
		sources, err := ParseList(strings.NewReader(text))
		if err == nil {
			checkUsable(t, sources)
		}
	})
}

func FuzzParseStanzas(f *testing.F) {
	f.Add("Types: deb\nURIs: http://m.example.org/d\nSuites: s\nComponents: main\nSigned-By: /k\n")
	f.Add(" x\n:\n\n\t\nTypes:deb\n x: y\n")
	f.Fuzz(func(t *testing.T, text string) {
		sources, err := ParseStanzas(strings.NewReader(text))
		if err == nil {
			checkUsable(t, sources)
		}
	})
}
