package matrix

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"took": took, "size": sizeText, "short": shortDigest, "lines": func(l []string) string { return strings.Join(l, "\n") },
}).Parse(page))

// htmlPage is what the page shows.
type htmlPage struct {
	*Report
	Counts   []htmlCount
	Variants []string // the columns of the grid
	Rows     []htmlRow
	Lost     []htmlJob // of which nobody knows the distribution: there is no result
	All      []htmlJob
}

// Columns are those of the grid beside the first, of which it has one at least.
func (p htmlPage) Columns() int { return max(1, len(p.Variants)) }

type htmlCount struct {
	Status Status
	N      int
}

type htmlRow struct {
	Title string // distribution and release
	Cells [][]htmlJob
}

// htmlJob is a result with what is worked out of it.
type htmlJob struct {
	Result
	LogLink string
	Passed  int
	Checks  []Check
	Links   []htmlArtifact
	Size    int64
}

type htmlArtifact struct {
	Artifact
	Link string
}

// WriteHTML writes a report as one page that needs nothing else: a grid of the
// results and what there is to know of each. Links to logs and images begin at
// from, the directory in which the page is to lie; dir is where results are.
func WriteHTML(w io.Writer, r *Report, from, dir string) error {
	p := htmlPage{Report: r}
	for _, s := range []Status{Done, Failed, Stopped, Skipped, Missing} {
		if n := r.Count(s); n > 0 {
			p.Counts = append(p.Counts, htmlCount{s, n})
		}
	}
	for _, res := range r.Jobs {
		if res.Distro != "" && !slices.Contains(p.Variants, res.Variant) {
			p.Variants = append(p.Variants, res.Variant)
		}
	}
	for _, res := range r.Jobs {
		j := htmlJobOf(res, from, dir)
		p.All = append(p.All, j)
		if res.Distro == "" {
			p.Lost = append(p.Lost, j)
			continue
		}
		title := Job{Distro: res.Distro, Release: res.Release}.Title()
		i := slices.IndexFunc(p.Rows, func(row htmlRow) bool { return row.Title == title })
		if i < 0 {
			i = len(p.Rows)
			p.Rows = append(p.Rows, htmlRow{title, make([][]htmlJob, len(p.Variants))})
		}
		column := slices.Index(p.Variants, res.Variant)
		p.Rows[i].Cells[column] = append(p.Rows[i].Cells[column], j)
	}
	return pageTemplate.Execute(w, p)
}

func htmlJobOf(res Result, from, dir string) htmlJob {
	link := func(path string) string {
		rel, err := filepath.Rel(from, filepath.Join(dir, filepath.FromSlash(path)))
		if path == "" || err != nil {
			return ""
		}
		// "./" keeps a colon in a name from being taken for a scheme.
		return "./" + (&url.URL{Path: filepath.ToSlash(rel)}).EscapedPath()
	}
	res.Reason, res.Hint = plain(res.Reason), plain(res.Hint)
	res.Tail, res.Labels = slices.Clone(res.Tail), maps.Clone(res.Labels)
	for i, line := range res.Tail {
		res.Tail[i] = plain(line)
	}
	for key, value := range res.Labels {
		res.Labels[key] = plain(value)
	}
	j := htmlJob{Result: res, LogLink: link(res.Log)}
	if res.Image == nil {
		return j
	}
	for _, a := range res.Image.Artifacts {
		j.Size += a.Size
		j.Links = append(j.Links, htmlArtifact{a, link(a.Path)})
	}
	if v := res.Image.Verify; v != nil {
		for _, c := range v.Checks {
			c.Name, c.Detail, c.Journal = plain(c.Name), plain(c.Detail), c.shown()
			for i, line := range c.Journal {
				c.Journal[i] = plain(line)
			}
			j.Checks = append(j.Checks, c)
			if c.OK && !c.Skipped {
				j.Passed++
			}
		}
	}
	return j
}

// sizeText is a number of bytes as people say it.
func sizeText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, letters := float64(n)/unit, "KMGT"
	for v >= unit && len(letters) > 1 {
		v, letters = v/unit, letters[1:]
	}
	return fmt.Sprintf("%.1f %ciB", v, letters[0])
}

func shortDigest(s string) string {
	s = strings.TrimPrefix(s, "sha256:")
	return s[:min(12, len(s))]
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
