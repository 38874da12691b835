package rootcache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

func request() sdk.Request {
	return sdk.Request{
		Distro: "debian", Release: "trixie", Architecture: "x86_64",
		Mirrors: []string{"http://a.example.org/debian", "http://b.example.org/debian"},
		Options: map[string]string{"variant": "minimal"}, Packages: []string{"vim", "git"},
	}
}

var state = sdk.State{Engine: "mmdebstrap 1.5.7", Repository: map[string]string{"trixie": "sha256:" + strings.Repeat("ab", 32)}}

func key(t *testing.T, s sdk.State, r sdk.Request) Key {
	t.Helper()
	k, err := NewKey("debootstrap", strings.Repeat("1", 64), s, r)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAKeyIsOfWhatATreeIsMadeOfAndOfNothingElse(t *testing.T) {
	keys := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mine := key(t, state, request()).Digest()
	for what, change := range map[string]func(*sdk.Request){
		"the job":                 func(r *sdk.Request) { r.JobID = "7" },
		"the target":              func(r *sdk.Request) { r.Target, r.WorkDirectory, r.CacheDirectory = "/t", "/w", "/c" },
		"the order of packages":   func(r *sdk.Request) { r.Packages = []string{"git", "vim"} },
		"a package that is twice": func(r *sdk.Request) { r.Packages = []string{"git", "vim", "git"} },
	} {
		r := request()
		change(&r)
		if key(t, state, r).Digest() != mine {
			t.Errorf("%s makes another key", what)
		}
	}
	seen := map[string]string{mine: "nothing"}
	for what, change := range map[string]func(*sdk.Request){
		"the distribution":     func(r *sdk.Request) { r.Distro = "ubuntu" },
		"the release":          func(r *sdk.Request) { r.Release = "sid" },
		"the architecture":     func(r *sdk.Request) { r.Architecture = "aarch64" },
		"a package":            func(r *sdk.Request) { r.Packages = []string{"vim"} },
		"an option":            func(r *sdk.Request) { r.Options = map[string]string{"variant": "standard"} },
		"the order of mirrors": func(r *sdk.Request) { r.Mirrors = []string{r.Mirrors[1], r.Mirrors[0]} },
		"a keyring":            func(r *sdk.Request) { r.Keyring = keys("a", "one") },
		"another keyring":      func(r *sdk.Request) { r.Keyring = keys("a", "two") },
		"a moment":             func(r *sdk.Request) { r.Snapshot = "2026-11-01" },
		"a time":               func(r *sdk.Request) { r.SourceDateEpoch = 1 },
		"what is pinned":       func(r *sdk.Request) { r.Pinned = []sdk.Package{{Name: "vim", Version: "1"}} },
	} {
		r := request()
		change(&r)
		d := key(t, state, r).Digest()
		if other, ok := seen[d]; ok {
			t.Errorf("%s makes the same key as %s", what, other)
		}
		seen[d] = what
	}
	for what, s := range map[string]sdk.State{
		"the tool":       {Engine: "mmdebstrap 1.5.8", Repository: state.Repository},
		"the repository": {Engine: state.Engine, Repository: map[string]string{"trixie": "sha256:00"}},
		"another suite":  {Engine: state.Engine, Repository: map[string]string{"trixie": state.Repository["trixie"], "updates": "x"}},
	} {
		if d := key(t, s, request()).Digest(); seen[d] != "" {
			t.Errorf("%s makes the same key as %s", what, seen[d])
		}
	}
	r := request()
	r.Keyring = keys("one", "one")
	s := request()
	s.Keyring = keys("two", "one")
	if key(t, state, r).Digest() != key(t, state, s).Digest() {
		t.Error("where the keys are makes another key")
	}
}

func TestAMissSaysWhatDiffers(t *testing.T) {
	a := key(t, state, request())
	r := request()
	r.Packages = []string{"vim"}
	s := sdk.State{Engine: state.Engine, Repository: map[string]string{"trixie": "sha256:" + strings.Repeat("cd", 32)}}
	var said []string
	for _, p := range Differing(a.Compare(key(t, s, r))) {
		said = append(said, p.String())
	}
	want := `packages is "git vim" and was "vim"; repository trixie is "sha256:abababababab" and was "sha256:cdcdcdcdcdcd"`
	if got := strings.Join(said, "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
