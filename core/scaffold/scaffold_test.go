package scaffold

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// source is this repository.
const source = "../.."

func write(t *testing.T, p Plugin) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	p.Go = "1.25"
	names, err := Write(dir, p)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(files) {
		t.Errorf("%d files were written, of %d", len(names), len(files))
	}
	return dir
}

func TestANewRepositoryIsWhole(t *testing.T) {
	dir := write(t, Plugin{Name: "my-linux", Module: "github.com/you/plugin", SDK: "v1.2.3"})
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "[[") || strings.Contains(string(text), "<no value>") {
			t.Errorf("%s is not filled in:\n%s", name, text)
		}
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if want := "module github.com/you/plugin\n\ngo 1.25\n\nrequire github.com/nspawn-build/nspawn-build v1.2.3\n"; err != nil || string(mod) != want {
		t.Errorf("go.mod is %q, %v", mod, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "testdata/tiny-mirror")); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("tiny-mirror cannot be run: %v", err)
	}
}

func TestANewRepositoryIsFormatted(t *testing.T) {
	dir := write(t, Plugin{Name: "my-linux"})
	out, err := exec.Command("gofmt", "-l", dir).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("gofmt: %v\n%s", err, out)
	}
}

func TestWhatCannotBeMadeIsRefusedBeforeAnythingIs(t *testing.T) {
	there := t.TempDir()
	for name, c := range map[string]struct {
		plugin Plugin
		dir    string
		field  string
	}{
		"no name":               {Plugin{}, "new", "name"},
		"a path":                {Plugin{Name: "../x"}, "new", "name"},
		"upper case":            {Plugin{Name: "Void"}, "new", "name"},
		"a dash at the end":     {Plugin{Name: "void-"}, "new", "name"},
		"a name without an end": {Plugin{Name: strings.Repeat("a", 99)}, "new", "name"},
		"no module":             {Plugin{Name: "void", Module: "a b"}, "new", "module"},
		"source of another":     {Plugin{Name: "void", Source: there}, "new", "sdk"},
		"a directory":           {Plugin{Name: "void"}, ".", "directory"},
	} {
		dir := filepath.Join(there, c.dir)
		_, err := Write(dir, c.plugin)
		var wrong *FieldError
		if !errors.As(err, &wrong) || wrong.Field != c.field || wrong.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(there); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestANewRepositoryBuilds builds it with what this repository has.
func TestANewRepositoryBuilds(t *testing.T) {
	dir := write(t, Plugin{Name: "my-linux", Source: source})
	tidy := exec.Command("go", "mod", "tidy")
	vet := exec.Command("go", "vet", "./...")
	build := exec.Command("go", "build", "-o", "plugin", ".")
	for _, c := range []*exec.Cmd{tidy, vet, build} {
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(c.Args, " "), err, out)
		}
	}
	out, err := exec.Command(filepath.Join(dir, "plugin"), "describe").Output()
	buildsInCI(t, dir)
	if err != nil || !slices.Contains(strings.Fields(string(out)), `"my-linux",`) {
		t.Errorf("describe: %v\n%s", err, out)
	}
}

// buildsInCI runs what CI does up to the build, with what it has checked out, and
// without the clone that is on this host only.
func buildsInCI(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, ".github/workflows/ci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var ci struct {
		Jobs struct {
			Check struct {
				Steps []struct {
					Run  string
					With struct{ Repository, Path string }
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &ci); err != nil {
		t.Fatal(err)
	}
	built := false
	for _, step := range ci.Jobs.Check.Steps {
		if step.With.Repository == "nspawn-build/nspawn-build" {
			clone, err := filepath.Abs(source)
			at := filepath.Join(dir, step.With.Path)
			if err := errors.Join(err, os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(clone, at)); err != nil {
				t.Fatal(err)
			}
		}
		if built || step.Run == "" || strings.Contains(step.Run, " install ") {
			continue
		}
		c := exec.Command("sh", "-ec", step.Run)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", step.Run, err, out)
		}
		built = step.Run == "make build"
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if !built || err != nil || !strings.Contains(string(mod), "nspawn-build => ./build/nspawn-build\n") {
		t.Errorf("CI has built %v, with\n%s%v", built, mod, err)
	}
}
