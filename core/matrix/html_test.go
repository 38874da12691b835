package matrix_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/nspawn-build/nspawn-build/core/matrix"
)

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
	if cells != 5 { // a row of four variants, of which web has two, and one for what is lost
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

// gridRows are the rows of the grid of a page: after the title of each, the
// image and status of each of its jobs.
func gridRows(root *html.Node) map[string][]string {
	text := func(n *html.Node) string {
		var b strings.Builder
		for d := range n.Descendants() {
			if d.Type == html.TextNode {
				b.WriteString(d.Data)
			}
		}
		return b.String()
	}
	rows := map[string][]string{}
	for n := range root.Descendants() {
		if id, _ := attribute(n, "id"); id != "grid" {
			continue
		}
		title, image := "", ""
		for d := range n.Descendants() {
			class, _ := attribute(d, "class")
			scope, _ := attribute(d, "scope")
			href, _ := attribute(d, "href")
			switch {
			case scope == "row":
				title = text(d)
				rows[title] = nil
			case strings.HasPrefix(href, "#"):
				image = text(d)
			case strings.HasPrefix(class, "status "):
				rows[title] = append(rows[title], image+": "+text(d))
			}
		}
	}
	return rows
}

// mergedPage is a report of the results of runners, of which two have left none,
// with an image that has a distribution and release that another has too.
func mergedPage(t *testing.T) (r *matrix.Report, dir string, rows map[string][]string) {
	t.Helper()
	const text = `version: 1
defaults: {image: {format: [tar]}}
distros: [{distro: debian, releases: [trixie, sid]}, arch]
include: [{name: slim, distro: debian, release: trixie, packages: [vim]}, {name: lost, distro: arch}]
`
	bad := &builder{fail: map[string]matrix.Outcome{"slim": {Exit: 4, Problem: "broken"}}}
	r, dir, err := merged(t, runner(t, &builder{}, text, "debian-trixie"), runner(t, bad, text, "slim"), runner(t, &builder{}, text, "arch"))
	if err != nil {
		t.Fatal(err)
	}
	return r, dir, map[string][]string{
		"debian trixie": {"debian-trixie: done", "slim: failed"}, "arch": {"arch: done"},
		"not built": {"debian-sid: missing", "lost: missing"},
	}
}

func TestACellSaysWhichImageItIs(t *testing.T) {
	r, dir, want := mergedPage(t)
	_, root, _ := htmlPage(t, r, dir, dir)
	if d := cmp.Diff(want, gridRows(root)); d != "" {
		t.Error(d)
	}
	sample := gridRows(func() *html.Node { _, root, _ := htmlPage(t, report(), "/r", "/r"); return root }())
	if d := cmp.Diff(map[string][]string{
		"debian trixie": {"good: done", "bad: failed", "ended: stopped", "unfit: failed", "later: skipped"}, "not built": {"lost: missing"},
	}, sample); d != "" {
		t.Error(d)
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
