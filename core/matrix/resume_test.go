package matrix_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/matrix"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func TestResumeBuildsAgainWhatIsBuiltOfSomethingElse(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("setup.sh", "echo one\n")
	if err := os.MkdirAll(filepath.Join(dir, "tree/deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("tree/deep/file", "one")
	at := func(text string) *matrix.Matrix {
		m, err := matrix.Read(spec.Source{Name: "images.yaml", Directory: dir, Home: "/root"}, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const text = `version: 1
defaults: {image: {format: [tar]}}
distros: [debian]
variants: [{name: low}, {name: high, base: low, customize: {script: [setup.sh]}}, {name: alone, customize: {copy: ["tree:/opt"]}}]
`
	b := &builder{}
	o := b.options(t)
	o.Resume, o.Jobs = true, 1
	all := []string{"debian-low", "debian-alone", "debian-high"}
	image := filepath.Join(o.Directory, "jobs/debian-alone/image/debian-alone.tar")
	for _, c := range []struct {
		what   string
		change func()
		text   string
		want   []string
	}{
		{"the first time", func() {}, text, all},
		{"nothing", func() {}, text, nil},
		{"a script", func() { write("setup.sh", "echo two\n") }, text, []string{"debian-high"}},
		{"what is copied", func() { write("tree/deep/file", "two") }, text, []string{"debian-alone"}},
		{"a comment of the file", func() {}, text + "# more\n", nil},
		{"a variant", func() {}, strings.Replace(text, "{name: low}", "{name: low, packages: [vim]}", 1), []string{"debian-low"}},
		{"the image", func() { truncate(t, image) }, strings.Replace(text, "{name: low}", "{name: low, packages: [vim]}", 1), []string{"debian-alone"}},
		{"the base's content", func() { b.content = "other"; write("setup.sh", "x") }, strings.Replace(text, "{name: low}", "{name: low, packages: [nano]}", 1), []string{"debian-low", "debian-high"}},
		{"the program", func() { o.Program = "2.0" }, text, all},
		{"what surrounds it", func() { o.Surroundings = "SOURCE_DATE_EPOCH=1" }, text, all},
	} {
		b.began = nil
		c.change()
		r := runMatrix(t.Context(), t, at(c.text), o)
		if r.Count(matrix.Done) != 3 || !slices.Equal(b.began, c.want) {
			t.Errorf("after a change of %s this was built: %v; want %v", c.what, b.began, c.want)
		}
		for _, j := range r.Jobs {
			if j.Resumed == slices.Contains(c.want, j.Name) {
				t.Errorf("after a change of %s, %s is done before: %v", c.what, j.Name, j.Resumed)
			}
		}
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 1); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutResumeEverythingIsBuiltAgain(t *testing.T) {
	m, b := read(t, grid), &builder{}
	o := b.options(t)
	for range 2 {
		b.began = nil
		runMatrix(t.Context(), t, m, o)
		if len(b.began) != 9 {
			t.Errorf("%v", b.began)
		}
	}
}
