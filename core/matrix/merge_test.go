package matrix_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/matrix"
)

// merged joins, and wants no warning.
func merged(t *testing.T, dirs ...string) (*matrix.Report, string, error) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "merged")
	r, err := matrix.Merge(dirs, out, func(problem string) { t.Errorf("warned: %s", problem) })
	return r, out, err
}

// A runner that was killed amid its build leaves what it had by then.
func TestARunnerThatDiesCostsNoMoreThanItsOwnResult(t *testing.T) {
	dead := filepath.Join(t.TempDir(), "dead")
	for name, text := range map[string]string{"matrix.lock": "", "jobs/arch-web/log": "building"} {
		path := filepath.Join(dead, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var warned []string
	warn := func(problem string) { warned = append(warned, problem) }
	r, err := matrix.Merge([]string{dead, runner(t, &builder{}, grid, "arch-minimal")}, filepath.Join(t.TempDir(), "merged"), warn)
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(r); got["arch-web"] != matrix.Missing || got["arch-minimal"] != matrix.Done || len(got) != 9 {
		t.Errorf("%v", got)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], dead+" holds no result") {
		t.Errorf("warned %q", warned)
	}
	if _, err := matrix.Merge([]string{dead}, filepath.Join(t.TempDir(), "merged"), warn); err == nil || !strings.Contains(err.Error(), "there are no results to join") {
		t.Errorf("of nothing a report is made: %v", err)
	}
	if _, err := matrix.Merge([]string{dead, t.TempDir()}, filepath.Join(t.TempDir(), "merged"), warn); err == nil || !strings.Contains(err.Error(), "holds no results") {
		t.Errorf("what is foreign is joined: %v", err)
	}
}

// runner builds some images of the grid as one of several runners would.
func runner(t *testing.T, b *builder, text string, only ...string) string {
	t.Helper()
	part, needed, _ := read(t, text).Only(only)
	o := b.options(t)
	o.Needed = needed
	runMatrix(t.Context(), t, part, o)
	return o.Directory
}

func TestTheResultsOfRunnersAreJoinedAndWhatIsMissingIsSaid(t *testing.T) {
	bad := &builder{fail: map[string]matrix.Outcome{"arch-minimal": {Exit: 4, Problem: "broken"}}}
	dirs := []string{
		runner(t, &builder{}, grid, "debian-trixie-minimal"), runner(t, &builder{}, grid, "debian-trixie-web"),
		runner(t, &builder{}, grid, "debian-trixie-shop"), runner(t, bad, grid, "arch-minimal"),
	}
	r, out, err := merged(t, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range statuses(r) {
		want := matrix.Missing
		switch {
		case strings.HasPrefix(name, "debian-trixie-"):
			want = matrix.Done
		case name == "arch-minimal":
			want = matrix.Failed
		}
		if s != want {
			t.Errorf("%s is %s, want %s", name, s, want)
		}
	}
	if len(r.Jobs) != 9 {
		t.Errorf("there are %d", len(r.Jobs))
	}
	for _, j := range r.Jobs {
		if j.Needed {
			t.Errorf("%s counts as built for another, and has a runner of its own", j.Name)
		}
		if j.Log == "" {
			continue
		}
		if data, err := os.ReadFile(filepath.Join(out, j.Log)); err != nil || string(data) != "building "+j.Name+"\n" {
			t.Errorf("the log of %s is %q: %v", j.Name, data, err)
		}
	}
	image := result(t, r, "debian-trixie-web").Image.Artifacts[0].Path
	if _, err := os.Stat(filepath.Join(out, image)); err != nil {
		t.Errorf("the image is not where the report says: %v", err)
	}
	again, _, err := merged(t, out)
	if err != nil || again.Count(matrix.Done) != 3 || again.Count(matrix.Missing) != 5 {
		t.Errorf("what was joined is not joined again: %v", err)
	}
}

func TestResultsThatContradictEachOtherAreNotJoined(t *testing.T) {
	other := &builder{content: "other "}
	for _, c := range []struct {
		want string
		dirs []string
	}{
		{"arch-minimal has two results that differ", []string{runner(t, &builder{}, grid, "arch-minimal"), runner(t, other, grid, "arch-minimal")}},
		{"of another matrix file", []string{runner(t, &builder{}, grid, "arch-minimal"), runner(t, &builder{}, grid+"# more\n", "arch-web")}},
		{"holds no results", []string{t.TempDir()}},
	} {
		_, out, err := merged(t, c.dirs...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s was made", out)
		}
	}
	// The same twice is no contradiction.
	dir := runner(t, &builder{}, grid, "arch-minimal")
	if _, _, err := merged(t, dir, dir, runner(t, &builder{}, grid, "arch-minimal")); err != nil {
		t.Error(err)
	}
}

func TestWhatAForgedResultNamesIsNotReadOutsideIt(t *testing.T) {
	dir := runner(t, &builder{}, grid, "arch-minimal")
	path := filepath.Join(dir, "jobs/arch-minimal/result.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(data), `"log": "jobs/arch-minimal/log"`, `"log": "../../../..`+secret+`"`, 1)
	if forged == string(data) {
		t.Fatal("nothing was forged")
	}
	if err := os.WriteFile(path, []byte(forged), 0o644); err != nil {
		t.Fatal(err)
	}
	r, out, err := merged(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if log := result(t, r, "arch-minimal").Log; log != "" {
		t.Errorf("its log is %s", log)
	}
	if _, err := os.Stat(filepath.Join(out, "jobs/arch-minimal/log")); err == nil {
		t.Error("something was copied")
	}
	// A log that is a link is no log either.
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "jobs/arch-minimal/log")
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, log); err != nil {
		t.Fatal(err)
	}
	if _, _, err := merged(t, dir); err == nil || !strings.Contains(err.Error(), "is no log") {
		t.Errorf("%v", err)
	}
}
