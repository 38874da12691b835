package matrix_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/nspawn-build/nspawn-build/core/matrix"
)

func emit(t *testing.T, text string, e matrix.Engine) string {
	t.Helper()
	var b bytes.Buffer
	if err := matrix.Emit(&b, read(t, text), e, matrix.Command{File: "ci/my images.yaml", Out: "matrix-results"}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// words are those of a command line as a shell takes them.
func words(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `for w in `+line+`; do printf '%s\n' "$w"; done`).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func TestGitHubGetsOneLineThatFromJSONMakesAMatrixOf(t *testing.T) {
	out := emit(t, grid, matrix.GitHub)
	if strings.Count(out, "\n") != 1 {
		t.Errorf("it has several lines: %s", out)
	}
	var got map[string][]map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || len(got["include"]) != 9 {
		t.Fatalf("%v", got)
	}
	for i, entry := range got["include"] {
		name := read(t, grid).File.Jobs[i]
		for _, key := range []string{"name", "distro", "release", "variant", "base", "command"} {
			if _, is := entry[key].(string); !is {
				t.Errorf("%s of %v is no text", key, entry)
			}
		}
		command, _ := entry["command"].(string)
		want := []string{"nspawn-build", "matrix", "--file", "ci/my images.yaml", "--only", name, "--out", "matrix-results"}
		if w := words(t, command); entry["name"] != name || !slices.Equal(w, want) {
			t.Errorf("%v runs %q", entry["name"], w)
		}
	}
}

func TestGitLabGetsAPipelineThatIsBuiltInTheRightOrder(t *testing.T) {
	type need struct {
		Job       string
		Artifacts bool
	}
	type job struct {
		Stage     string
		Needs     []need
		Script    []string
		When      string
		Artifacts struct {
			When    string
			Paths   []string
			Reports struct{ JUnit string }
		}
	}
	out := emit(t, grid+"include: [{name: pages, distro: debian}]\n", matrix.GitLab)
	var keys yaml.MapSlice
	if err := yaml.Unmarshal([]byte(out), &keys); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var stages []string
	all := map[string]job{}
	for _, item := range keys {
		part, err := yaml.Marshal(item.Value)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := item.Key.(string)
		if name == "stages" {
			err = yaml.Unmarshal(part, &stages)
		} else {
			var j job
			err = yaml.UnmarshalWithOptions(part, &j, yaml.Strict())
			all[name] = j
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) != 11 || !slices.Equal(stages, []string{"images", "report"}) {
		t.Errorf("%d jobs in %v", len(all), stages)
	}
	if _, ok := all["image pages"]; !ok {
		t.Error("a job has a name that means something else there")
	}
	shop := all["arch-shop"]
	if want := []need{{"arch-web", true}, {"arch-minimal", true}}; !slices.Equal(shop.Needs, want) {
		t.Errorf("it needs %v", shop.Needs)
	}
	if w := words(t, shop.Script[0]); !slices.Contains(w, "--resume") || !slices.Contains(w, "arch-shop") {
		t.Errorf("it runs %q", w)
	}
	seen := map[string]bool{}
	for name, j := range all {
		if !slices.Contains(stages, j.Stage) || len(j.Script) != 1 || j.Artifacts.When != "always" || len(j.Artifacts.Paths) != 1 {
			t.Errorf("%s is %+v", name, j)
		}
		if p := j.Artifacts.Paths[0]; seen[p] || !strings.HasPrefix(j.Artifacts.Reports.JUnit, p) {
			t.Errorf("%s hands on %s and reports %s", name, p, j.Artifacts.Reports.JUnit)
		}
		seen[j.Artifacts.Paths[0]] = true
	}
	if r := all["report"]; r.When != "always" || !slices.Contains(words(t, r.Script[0]), "merge") {
		t.Errorf("%+v", r)
	}
}

func TestWhatAnEngineCannotDoIsSaid(t *testing.T) {
	many := strings.Replace(grid, "distros: [", "distros: [{distro: x, releases: ["+strings.TrimSuffix(strings.Repeat("r%,", 90), ",")+"]}, ", 1)
	for i := 0; strings.Contains(many, "%"); i++ {
		many = strings.Replace(many, "%", strings.Repeat("x", i%30+1)+string(rune('a'+i/30)), 1)
	}
	for _, c := range []struct {
		text   string
		engine matrix.Engine
		out    string
		want   string
	}{
		{many, matrix.GitHub, "out", "GitHub runs at most 256"},
		{strings.Replace(grid, "[tar]", "[directory]", 1), matrix.GitLab, "out", "there is a directory only"},
		{grid, matrix.GitLab, "/abs", "takes no artifacts"},
		{grid, matrix.GitLab, "../up", "takes no artifacts"},
	} {
		var b bytes.Buffer
		err := matrix.Emit(&b, read(t, c.text), c.engine, matrix.Command{File: "f", Out: c.out})
		if err == nil || !strings.Contains(err.Error(), c.want) || b.Len() > 0 {
			t.Errorf("want %q, got %v and %d bytes", c.want, err, b.Len())
		}
	}
}

// What a child pipeline does with the parts that its jobs hand on.
func TestAJobGoesOnWithWhatAnotherRunnerHandedOn(t *testing.T) {
	first := runner(t, &builder{}, grid, "arch-minimal")
	part, needed, _ := read(t, grid).Only([]string{"arch-web"})
	b := &builder{}
	o := b.options(t)
	o.Needed, o.Resume = needed, true
	if out, err := exec.Command("sh", "-c", `mkdir -p "$2/jobs" && cp -R "$1/jobs/arch-minimal" "$2/jobs/"`, "sh", first, o.Directory).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := runMatrix(t.Context(), t, part, o)
	if !slices.Equal(b.began, []string{"arch-web"}) || r.Count(matrix.Done) != 2 {
		t.Errorf("built %v: %v", b.began, statuses(r))
	}
	joined, _, err := merged(t, o.Directory)
	if err != nil || joined.Count(matrix.Done) != 2 {
		t.Errorf("%v", err)
	}
}
