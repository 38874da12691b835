package matrix_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"

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
	for _, tree := range []string{"trees/1", "trees/2"} {
		if err := os.MkdirAll(filepath.Join(dir, tree, "deep"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(tree+"/deep/file", "one")
	}
	write("trees/2/more", "more")
	lead := func(to string) {
		at := filepath.Join(dir, "tree")
		if err := errors.Join(os.RemoveAll(at), os.Symlink(to, at)); err != nil {
			t.Fatal(err)
		}
	}
	lead("trees/1")
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
variants: [{name: low}, {name: high, base: low, customize: {script: [setup.sh]}}, {name: alone, access: {invoker-keys: true}, customize: {copy: ["tree:/opt"]}}]
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
		{"what is copied", func() { write("trees/1/deep/file", "two") }, text, []string{"debian-alone"}},
		{"where a link leads that is copied", func() { lead("trees/2") }, text, []string{"debian-alone"}},
		{"a link that leads to the same", func() { lead("./trees/../trees/2") }, text, nil},
		{"the keys of who builds it", func() { o.InvokerKeys = []string{"ssh-ed25519 AAAA me"} }, text, []string{"debian-alone"}},
		{"a comment of the file", func() {}, text + "# more\n", nil},
		{"a variant", func() {}, strings.Replace(text, "{name: low}", "{name: low, packages: [vim]}", 1), []string{"debian-low"}},
		{"the image", func() { truncate(t, image) }, strings.Replace(text, "{name: low}", "{name: low, packages: [vim]}", 1), []string{"debian-alone"}},
		{"the base's content", func() { b.content = "other"; write("setup.sh", "x") }, strings.Replace(text, "{name: low}", "{name: low, packages: [nano]}", 1), []string{"debian-low", "debian-high"}},
		{"everything back", func() { b.content = "" }, text, []string{"debian-low", "debian-high"}},
		{"where it is pushed to", func() { o.Push = map[string]string{"debian-low": "registry.test/images/low:1"}; b.push = o.Push }, text, []string{"debian-low"}},
		{"nothing that was pushed", func() {}, text, nil},
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

// Of an OCI layout the digest is that of its manifest, which is one of its files.
func TestResumeBuildsALayoutAgainThatIsNotWhole(t *testing.T) {
	m := read(t, "version: 1\ndefaults: {image: {format: [oci]}}\ndistros: [a]\n")
	image, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{}
	o := b.options(t)
	built := 0
	o.Run = func(_ context.Context, task matrix.Task) matrix.Outcome {
		built++
		path := filepath.Join(task.Out, "a.oci")
		if err := os.RemoveAll(path); err != nil {
			t.Error(err)
		}
		l, err := layout.Write(path, empty.Index)
		if err == nil {
			err = l.AppendImage(image)
		}
		if err != nil {
			t.Error(err)
		}
		return matrix.Outcome{Image: &matrix.Image{Artifacts: []matrix.Artifact{{Format: "oci", Path: path, SHA256: digest.Hex}}}}
	}
	o.Resume = true
	at := filepath.Join(o.Directory, "jobs/a/image/a.oci")
	blob := func(h v1.Hash) string { return filepath.Join(at, "blobs", h.Algorithm, h.Hex) }
	change := func(path string) func() error {
		return func() error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[len(data)/2] ^= 1
			return os.WriteFile(path, data, 0o644)
		}
	}
	for _, c := range []struct {
		what   string
		change func() error
		want   int
	}{
		{"the first time", func() error { return nil }, 1},
		{"nothing", func() error { return nil }, 0},
		{"a layer that is gone", func() error { return os.Remove(blob(manifest.Layers[1].Digest)) }, 1},
		{"a byte of a layer", change(blob(manifest.Layers[0].Digest)), 1},
		{"a byte of the configuration", change(blob(manifest.Config.Digest)), 1},
		{"a byte of the manifest", change(blob(digest)), 1},
		{"an index that is cut", func() error { return os.Truncate(filepath.Join(at, "index.json"), 10) }, 1},
		{"an index of nothing", func() error { return os.WriteFile(filepath.Join(at, "index.json"), []byte("{}"), 0o644) }, 1},
		{"a layer that is a link", func() error {
			path := blob(manifest.Layers[0].Digest)
			return errors.Join(os.Rename(path, path+"-"), os.Symlink(path+"-", path))
		}, 1},
		{"all of it", func() error { return os.RemoveAll(at) }, 1},
		{"an empty directory", func() error { return errors.Join(os.RemoveAll(at), os.Mkdir(at, 0o755)) }, 1},
		{"nothing again", func() error { return nil }, 0},
	} {
		built = 0
		if err := c.change(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if r := runMatrix(t.Context(), t, m, o); built != c.want || r.Count(matrix.Done) != 1 {
			t.Errorf("after a change of %s it was built %d times: %+v", c.what, built, r.Jobs)
		}
	}
}
