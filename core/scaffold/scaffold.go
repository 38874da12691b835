// Package scaffold writes the repository that a distro plugin begins as: one
// that builds, keeps to every rule and has CI, and in which the distribution's
// own tool is what is left to fill in. It writes only into a directory that it
// made, and runs nothing.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

//go:embed template
var templates embed.FS

// files are what is written, by the template of each.
var files = map[string]string{
	"go.mod.tmpl":         "go.mod",
	"main.go.tmpl":        "main.go",
	"plugin.go.tmpl":      "plugin.go",
	"request.go.tmpl":     "request.go",
	"tree.go.tmpl":        "tree.go",
	"plugin_test.go.tmpl": "plugin_test.go",
	"tiny-mirror.tmpl":    "testdata/tiny-mirror",
	"Makefile.tmpl":       "Makefile",
	"README.md.tmpl":      "README.md",
	"gitignore.tmpl":      ".gitignore",
	"github/ci.yml.tmpl":  ".github/workflows/ci.yml",
}

// Plugin says what the repository is for.
type Plugin struct {
	// Name is the plugin's and its distribution's: lower-case letters, digits
	// and dashes.
	Name string
	// Module is the module's path; empty means example.org/BINARY.
	Module string
	// SDK is the version of nspawn-build's module, such as v1.2.0. Where it is
	// none, as that of a program which was built from a clone, go.mod says none.
	SDK string
	// Source is a directory with nspawn-build's source to build with in place of
	// a released version, or empty.
	Source string
	// Go is the version of the language, as in go.mod.
	Go string
}

// FieldError is what a repository cannot be made of.
type FieldError struct{ Field, Value, Problem, Hint string }

// Error implements error.
func (e *FieldError) Error() string { return fmt.Sprintf("%s: %q %s", e.Field, e.Value, e.Problem) }

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// check completes p, or says what is wrong with it.
func (p *Plugin) check() error {
	const longest = 32
	if !nameForm.MatchString(p.Name) || len(p.Name) > longest {
		return &FieldError{"name", p.Name, "is not the name of a plugin", "use lower-case letters, digits and dashes, such as void or my-linux"}
	}
	if p.Module == "" {
		p.Module = "example.org/" + p.Binary()
	}
	if err := module.CheckImportPath(p.Module); err != nil {
		return &FieldError{"module", p.Module, "is not the path of a Go module", "use the address of the repository, such as github.com/you/" + p.Binary()}
	}
	if !released(p.SDK) {
		p.SDK = ""
	}
	if p.Source == "" {
		return nil
	}
	var err error
	if p.Source, err = filepath.Abs(p.Source); err != nil {
		return err
	}
	if strings.ContainsAny(p.Source, " \t\n\"'`()") {
		return &FieldError{"sdk", p.Source, "cannot be written into go.mod", "use a directory without spaces or quotes in its path"}
	}
	if text, err := os.ReadFile(filepath.Join(p.Source, "go.mod")); err != nil || !bytes.HasPrefix(text, []byte("module "+sdkModule+"\n")) {
		return &FieldError{"sdk", p.Source, "is not the source of nspawn-build", "name a clone of its repository"}
	}
	return nil
}

// Unpinned reports whether go.mod says no version of the SDK, and where it is
// neither. It does not build before somebody has said which.
func (p *Plugin) Unpinned() bool { return p.Source == "" && !released(p.SDK) }

// released reports whether a version is one that can be required.
func released(v string) bool {
	return semver.IsValid(v) && semver.Prerelease(v) == "" && semver.Build(v) == ""
}

const sdkModule = "github.com/nspawn-build/nspawn-build"

// Binary is the name of the plugin's file.
func (p *Plugin) Binary() string { return sdk.BinaryPrefix + p.Name }

// Write makes the directory, which must not exist, with the repository in it,
// and returns the names of its files. What it cannot finish it removes.
func Write(dir string, p Plugin) (names []string, err error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // source code
		if errors.Is(err, fs.ErrExist) {
			return nil, &FieldError{"directory", dir, "is there already", "name another one with --directory"}
		}
		return nil, fmt.Errorf("the new repository: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, root.Close())
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir)) // it was made here
		}
	}()
	all, err := template.New("").Delims("[[", "]]").ParseFS(templates, "template/*.tmpl", "template/github/*.tmpl")
	if err != nil {
		return nil, err
	}
	for from, to := range files {
		var text bytes.Buffer
		if err := all.ExecuteTemplate(&text, filepath.Base(from), &p); err != nil {
			return nil, err
		}
		mode := os.FileMode(0o644)
		if bytes.HasPrefix(text.Bytes(), []byte("#!")) {
			mode = 0o755
		}
		if err := root.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return nil, err
		}
		if err := root.WriteFile(to, text.Bytes(), mode); err != nil {
			return nil, err
		}
		names = append(names, to)
	}
	return names, nil
}
