package matrix_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

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
