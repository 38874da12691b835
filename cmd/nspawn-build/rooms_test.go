package main

import (
	"errors"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nspawn-build/nspawn-build/"

// rooms are the packages that docs/architecture.md lists, from the top of the
// house to the bottom.
func rooms(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^    ((?:cmd|core|plugins)/\S+)/ `).FindAllStringSubmatch(string(text), -1) {
		if slices.Contains(found, m[1]) {
			t.Errorf("docs/architecture.md lists %s twice", m[1])
		}
		found = append(found, m[1])
	}
	return found
}

// roomOf is the place in the list of the room that a package is in, and -1 if
// it is in none.
func roomOf(rooms []string, pkg string) int {
	for ; pkg != "."; pkg = filepath.Dir(pkg) {
		if i := slices.Index(rooms, pkg); i >= 0 {
			return i
		}
	}
	return -1
}

// mayImport says whether one package of the house may import another.
func mayImport(rooms []string, from, to string) bool {
	a, b := roomOf(rooms, from), roomOf(rooms, to)
	switch {
	case a < 0 || b < 0:
		return false
	case strings.HasPrefix(from, "plugins/"):
		return a == b || strings.HasPrefix(to+"/", "core/sdk/")
	}
	return a <= b && !strings.HasPrefix(to, "plugins/")
}

func TestImportsRunDownward(t *testing.T) {
	rooms, entered := rooms(t), map[string]bool{}
	for _, top := range []string{"cmd", "core", "plugins"} {
		err := filepath.WalkDir("../../"+top, func(dir string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if d.Name() == "testdata" {
				return fs.SkipDir
			}
			p, err := build.ImportDir(dir, 0)
			if none := (*build.NoGoError)(nil); errors.As(err, &none) {
				return nil
			}
			if err != nil {
				return err
			}
			pkg := strings.TrimPrefix(filepath.ToSlash(dir), "../../")
			room := roomOf(rooms, pkg)
			if room < 0 {
				t.Errorf("docs/architecture.md has no room for %s", pkg)
				return nil
			}
			entered[rooms[room]] = true
			for _, imported := range p.Imports {
				to, ours := strings.CutPrefix(imported, module)
				if ours && !mayImport(rooms, pkg, to) {
					t.Errorf("%s imports %s, which is not below it in docs/architecture.md", pkg, to)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, room := range rooms {
		if !entered[room] {
			t.Errorf("docs/architecture.md lists %s, where there is no package", room)
		}
	}
}

func TestWhatMayNotBeImportedIsFound(t *testing.T) {
	rooms := rooms(t)
	for from, to := range map[string]string{
		"core/stages": "core/machines", "core/sdk": "core/spec", "core/sdk/target": "core/rootfs",
		"core/hostlink": "core/driver/direct", "plugins/dnf": "core/rootfs", "core/machines": "plugins/dnf",
		"plugins/pacstrap": "plugins/dnf", "core/spec": "cmd/nspawn-build", "core/nowhere": "core/spec",
	} {
		if mayImport(rooms, from, to) {
			t.Errorf("%s may import %s", from, to)
		}
	}
	for from, to := range map[string]string{
		"core/hostlink": "core/driver/veth", "core/driver/direct": "core/hostlink", "plugins/dnf": "core/sdk/target",
		"core/sdk/sdktest": "core/sdk", "cmd/nspawn-build": "core/spec",
	} {
		if !mayImport(rooms, from, to) {
			t.Errorf("%s may not import %s", from, to)
		}
	}
}
