package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const ciExamples = "../../examples/ci/"

// ours is a command line of this program in a file for a CI engine.
var ours = regexp.MustCompile(`(?m)(?:^|[ "'(])(nspawn-build matrix [^\n"'>)]*)`)

func TestTheExamplesForCISayWhatThisProgramTakes(t *testing.T) {
	var out, said bytes.Buffer
	plan := func(args ...string) int {
		out.Reset()
		said.Reset()
		return run(context.Background(), append([]string{"nspawn-build"}, args...), streams{in: strings.NewReader(""), out: &out, err: &said})
	}
	if code := plan("matrix", "plan", "--file", ciExamples+"images.yaml"); code != exitDone || !strings.Contains(out.String(), "debian-bookworm-build") {
		t.Errorf("images.yaml: %d\n%s%s", code, &out, &said)
	}
	for _, engine := range []string{"github", "gitlab"} {
		if code := plan("matrix", "--file", ciExamples+"images.yaml", "--emit", engine); code != exitDone || out.Len() == 0 {
			t.Errorf("--emit %s: %d\n%s", engine, code, &said)
		}
	}
	files, err := filepath.Glob(ciExamples + "*")
	if err != nil || len(files) < 6 {
		t.Fatalf("%q, %v", files, err)
	}
	lines := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".yml") {
			var tree map[string]any
			if err := yaml.Unmarshal(text, &tree); err != nil || len(tree) == 0 {
				t.Errorf("%s: %v", file, err)
			}
		}
		for _, m := range ours.FindAllStringSubmatch(string(text), -1) {
			lines++
			a := newApp(streams{out: &out, err: &said})
			for word := range strings.FieldsSeq(m[1]) {
				if flag, is := strings.CutPrefix(word, "--"); is && !hasFlag(a, flag) {
					t.Errorf("%s: %q: there is no flag --%s", file, m[1], flag)
				}
			}
		}
	}
	if lines < 4 {
		t.Errorf("only %d command lines were found in the examples", lines)
	}
	if sh, err := exec.LookPath("sh"); err == nil {
		if said, err := exec.Command(sh, "-n", ciExamples+"build-tools.sh").CombinedOutput(); err != nil {
			t.Errorf("build-tools.sh: %v\n%s", err, said)
		}
	}
}

// A runner has nothing that makes images, and what the action installs is what
// its default says.
func TestTheActionInstallsWhatTheImagesTake(t *testing.T) {
	var action struct {
		Inputs map[string]struct{ Default string }
	}
	var images struct{ Distros []any }
	for file, into := range map[string]any{"github-action.yml": &action, "images.yaml": &images} {
		text, err := os.ReadFile(ciExamples + file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	installed := strings.Fields(action.Inputs["distros"].Default)
	for _, d := range images.Distros {
		name, _ := d.(string)
		if full, is := d.(map[string]any); is {
			name, _ = full["distro"].(string)
		}
		if !slices.Contains(installed, name) {
			t.Errorf("images.yaml has %q, and the action installs what %q take", name, installed)
		}
	}
	known, err := exec.Command("sh", "../../packaging/install-deps").CombinedOutput()
	if err == nil {
		t.Errorf("without a purpose install-deps succeeds: %s", known)
	}
	for _, name := range installed {
		if !regexp.MustCompile(`[[|]` + name + `[]|]`).Match(known) {
			t.Errorf("install-deps does not know %q: %s", name, known)
		}
	}
}

func hasFlag(a *app, name string) bool {
	matrix := a.cli.Command("matrix")
	all := matrix.Flags
	for _, s := range matrix.Subcommands {
		all = append(all, s.Flags...)
	}
	for _, f := range all {
		for _, n := range f.Names() {
			if n == name {
				return true
			}
		}
	}
	return false
}
