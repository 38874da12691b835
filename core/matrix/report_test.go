package matrix_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/nspawn-build/nspawn-build/core/matrix"
)

// hostile is what a job might print to break a report.
const hostile = "]]><script>alert(1)</script>&\"'\x1b[31m\x00"

// report has one result of each kind, and hostile text wherever a job has a say.
func report() *matrix.Report {
	at := time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)
	job := func(name, variant string, s matrix.Status) matrix.Result {
		return matrix.Result{
			Job:    matrix.Job{Name: name, Distro: "debian", Release: "trixie", Variant: variant, Labels: map[string]string{"team": hostile}},
			Status: s, Started: at, Seconds: 12.5, Log: "jobs/" + name + "/log",
		}
	}
	done, failed, unfit := job("good", "minimal", matrix.Done), job("bad", "web", matrix.Failed), job("unfit", "fat", matrix.Failed)
	skipped, missing, stopped := job("later", "shop", matrix.Skipped), job("lost", "", matrix.Missing), job("ended", "web", matrix.Stopped)
	done.Image = &matrix.Image{
		Digest: "0123456789abcdef", Packages: 90, Cache: matrix.CacheUse{Hit: true, Key: "k", Reason: "had from a registry"}, Pushed: []string{"registry.test/images/good@sha256:01"},
		Artifacts: []matrix.Artifact{{Format: "tar.zst", Path: "jobs/good/image/good.tar.zst", SHA256: "feedfacecafebeef", Size: 3 << 20}},
		Verify:    &matrix.Verify{OK: true, Checks: []matrix.Check{{Name: "running", OK: true, Seconds: 1.5}, {Name: "sshd", OK: true, Seconds: 1}, {Name: "dns", Skipped: true, Detail: "there is no network"}}},
		Stages:    []matrix.StageTime{{Name: "bootstrap", Seconds: 8}},
	}
	failed.Exit, failed.Reason, failed.Hint, failed.Tail = 4, "it broke: "+hostile, "mend it", []string{"the end", hostile}
	unfit.Exit, unfit.Reason = 6, "the image does not pass"
	unfit.Image = &matrix.Image{Verify: &matrix.Verify{Checks: []matrix.Check{
		{Name: "running", OK: true}, {Name: "check 1: " + hostile, Detail: hostile, Output: []string{"it printed this"}, Journal: []string{"from the journal", hostile}},
	}}}
	skipped.Reason, skipped.Started, skipped.Log, skipped.Seconds = "it is built on bad", time.Time{}, "", 0
	missing.Reason, missing.Started, missing.Log, missing.Seconds = "no runner has a result of it", time.Time{}, "", 0
	stopped.Reason = "interrupted"
	return &matrix.Report{
		Version: 1, Program: "1.0", Host: "runner", File: matrix.File{Name: "images <b>.yaml"}, Started: at, Seconds: 20,
		Jobs: []matrix.Result{done, failed, unfit, skipped, missing, stopped},
	}
}

// The elements as the schemas of Ant and Jenkins have them: which attributes
// each must have, and in which order what is inside.
var junitForm = map[string]struct {
	must  []string
	order []string
}{
	"testsuites": {nil, []string{"testsuite"}},
	"testsuite":  {[]string{"id", "package", "name", "timestamp", "hostname", "tests", "failures", "errors", "time"}, []string{"properties", "testcase", "system-out", "system-err"}},
	"properties": {nil, []string{"property"}},
	"property":   {[]string{"name", "value"}, nil},
	"testcase":   {[]string{"name", "classname", "time"}, []string{"skipped", "error", "failure"}},
	"skipped":    {nil, nil}, "error": {[]string{"message", "type"}, nil}, "failure": {[]string{"message", "type"}, nil},
	"system-out": {nil, nil}, "system-err": {nil, nil},
}

// checkJUnit holds a report against the form.
func checkJUnit(t *testing.T, data []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	var above []string
	last := []int{0}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("it is no XML: %v\n%s", err, data)
		}
		switch e := token.(type) {
		case xml.StartElement:
			name := e.Name.Local
			form, known := junitForm[name]
			if !known {
				t.Errorf("there is no element %s", name)
			}
			if len(above) == 0 {
				if name != "testsuites" {
					t.Errorf("its root is %s", name)
				}
			} else {
				at := slices.Index(junitForm[above[len(above)-1]].order, name)
				if at < last[len(last)-1] {
					t.Errorf("%s is in %s, or in the wrong order", name, above[len(above)-1])
				}
				last[len(last)-1] = at
			}
			for _, must := range form.must {
				if !slices.ContainsFunc(e.Attr, func(a xml.Attr) bool {
					return a.Name.Local == must && (a.Value != "" || must == "value" || must == "message")
				}) {
					t.Errorf("%s has no %s", name, must)
				}
			}
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "time":
					if _, err := strconv.ParseFloat(a.Value, 64); err != nil {
						t.Error(err)
					}
				case "timestamp":
					if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`).MatchString(a.Value) {
						t.Errorf("%q is no timestamp", a.Value)
					}
				}
			}
			above, last = append(above, name), append(last, 0)
		case xml.EndElement:
			above, last = above[:len(above)-1], last[:len(last)-1]
		}
	}
}

func TestJUnitHasASuiteForEachImageAndACaseForEachCheck(t *testing.T) {
	var b bytes.Buffer
	if err := matrix.WriteJUnit(&b, report()); err != nil {
		t.Fatal(err)
	}
	if path := os.Getenv("JUNIT_OUT"); path != "" { // for a look at it with the schemas themselves
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	checkJUnit(t, b.Bytes())
	var got struct {
		Suites []struct {
			Name  string `xml:"name,attr"`
			T     string `xml:"tests,attr"`
			F     string `xml:"failures,attr"`
			E     string `xml:"errors,attr"`
			S     string `xml:"skipped,attr"`
			Cases []struct {
				Name    string  `xml:"name,attr"`
				Failure *string `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := []string{"good 4 0 0 1", "bad 1 1 0 0", "unfit 3 1 0 0", "later 1 0 0 1", "lost 1 0 1 0", "ended 1 0 1 0"}
	for i, s := range got.Suites {
		if line := strings.Join([]string{s.Name, s.T, s.F, s.E, s.S}, " "); line != want[i] {
			t.Errorf("suite %d is %s, want %s", i, line, want[i])
		}
	}
	bad := got.Suites[1].Cases[0]
	if bad.Name != "build" || bad.Failure == nil {
		t.Fatalf("%+v", bad)
	}
	for _, part := range []string{"it broke", "hint: mend it", "the end of its log:\nthe end", "<script>"} {
		if !strings.Contains(*bad.Failure, part) {
			t.Errorf("the failure does not say %q: %s", part, *bad.Failure)
		}
	}
	if unfit := got.Suites[2].Cases; unfit[0].Failure != nil || unfit[2].Failure == nil || !strings.Contains(*unfit[2].Failure, "from the journal") {
		t.Errorf("%+v", unfit)
	}
}

// page parses a report, and returns its text and elements.
func htmlPage(t *testing.T, r *matrix.Report, from, dir string) (string, *html.Node, string) {
	t.Helper()
	var b bytes.Buffer
	if err := matrix.WriteHTML(&b, r, from, dir); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			text.WriteString(n.Data + "\n")
		}
	}
	return text.String(), root, b.String()
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func TestThePageNeedsNothingElseAndRunsNothing(t *testing.T) {
	_, root, source := htmlPage(t, report(), "/reports", "/reports/results")
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if slices.Contains([]string{"script", "link", "img", "iframe", "object", "embed", "base", "form"}, n.Data) {
			t.Errorf("it has an element %s", n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "src" || strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				t.Errorf("%s has %s", n.Data, a.Key)
			}
			if a.Key == "href" && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "./results/jobs/") {
				t.Errorf("it leads to %q", a.Val)
			}
		}
	}
	for _, no := range []string{"http://", "https://", "url(", "@import", "<script"} {
		if strings.Contains(source, no) {
			t.Errorf("it contains %s", no)
		}
	}
	if !strings.Contains(source, "prefers-color-scheme: dark") {
		t.Error("it is light in the dark")
	}
}

func TestThePageHasAGridAndEachImage(t *testing.T) {
	text, root, _ := htmlPage(t, report(), "/reports", "/reports/results")
	ids, links, cells := map[string]bool{}, map[string]int{}, 0
	for n := range root.Descendants() {
		if id, ok := attribute(n, "id"); ok {
			ids[id] = true
		}
		if href, ok := attribute(n, "href"); ok {
			links[href]++
		}
		if n.Data == "td" && n.Parent.Parent.Parent != nil {
			if id, _ := attribute(n.Parent.Parent.Parent, "id"); id == "grid" {
				cells++
			}
		}
	}
	if cells != 5 { // one row of five variants: web has two
		t.Errorf("the grid has %d cells", cells)
	}
	for _, j := range report().Jobs {
		if !ids[j.Name] || links["#"+j.Name] != 1 {
			t.Errorf("%s: is there %v, linked %d times", j.Name, ids[j.Name], links["#"+j.Name])
		}
		if link := "./results/" + j.Log; j.Log != "" && links[link] != 2 {
			t.Errorf("%s is linked %d times", link, links[link])
		}
	}
	if links["./results/jobs/good/image/good.tar.zst"] != 1 {
		t.Errorf("%v", links)
	}
	for _, part := range []string{"images <b>.yaml", "12.5 s", "3.0 MiB", "cache hit", "had from a registry", "registry.test/images/good@sha256:01", "2 of 3 checks", "skipped", "there is no network", "it printed this", "hint: mend it", "<script>alert(1)</script>", "from the journal", "it is built on bad"} {
		if !strings.Contains(text, part) {
			t.Errorf("the page does not say %q", part)
		}
	}
	if strings.ContainsAny(text, "\x1b\x00") {
		t.Error("the page has control characters")
	}
}

func TestTheLinksOfAPageHoldWhereverItLies(t *testing.T) {
	for from, want := range map[string]string{"/r": "./jobs/good/log", "/": "./r/jobs/good/log", "/other/place": "./../../r/jobs/good/log"} {
		_, root, _ := htmlPage(t, report(), from, "/r")
		found := false
		for n := range root.Descendants() {
			href, _ := attribute(n, "href")
			found = found || href == want
		}
		if !found {
			t.Errorf("from %s nothing leads to %s", from, want)
		}
	}
}

// merged joins and returns what there is to say.
func merged(t *testing.T, dirs ...string) (*matrix.Report, string, error) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "merged")
	r, err := matrix.Merge(dirs, out)
	return r, out, err
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
