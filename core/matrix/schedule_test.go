package matrix_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/matrix"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

const grid = `version: 1
defaults: {image: {format: [tar]}, labels: {team: ci}}
distros: [{distro: debian, releases: [trixie, sid]}, arch]
variants:
- {name: web, base: minimal}
- {name: minimal}
- {name: shop, base: web}
`

func read(t *testing.T, text string) *matrix.Matrix {
	t.Helper()
	m, err := matrix.Read(spec.Source{Name: "images.yaml", Directory: "/src", Home: "/root"}, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// builder stands in for image: it writes a file where it is told to, and fails
// for whom it is told to.
type builder struct {
	mu      sync.Mutex
	began   []string
	bases   map[string]string
	now     int
	most    int
	fail    map[string]matrix.Outcome
	hold    map[string]chan struct{} // until closed, or the context ends
	content string
}

func (b *builder) run(ctx context.Context, t matrix.Task) matrix.Outcome {
	b.mu.Lock()
	b.began = append(b.began, t.Job.Name)
	if b.bases == nil {
		b.bases = map[string]string{}
	}
	b.bases[t.Job.Name] = t.Base
	b.now++
	b.most = max(b.most, b.now)
	hold := b.hold[t.Job.Name]
	fail, fails := b.fail[t.Job.Name]
	b.mu.Unlock()
	defer func() { b.mu.Lock(); b.now--; b.mu.Unlock() }()
	if err := os.WriteFile(t.Log, []byte("building "+t.Job.Name+"\n"), 0o644); err != nil {
		return matrix.Outcome{Exit: 1, Problem: err.Error()}
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return matrix.Outcome{Exit: 130, Problem: "interrupted"}
		}
	}
	if fails {
		return fail
	}
	path := filepath.Join(t.Out, t.Job.Name+".tar")
	text := b.content + t.Job.Name
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return matrix.Outcome{Exit: 1, Problem: err.Error()}
	}
	return matrix.Outcome{Image: &matrix.Image{
		Name: t.Job.Name, Distro: t.Job.Distro, Digest: "tree of " + text,
		Artifacts: []matrix.Artifact{{Format: "tar", Path: path, SHA256: sha256Hex(text), Size: int64(len(text))}},
	}}
}

func (b *builder) options(t *testing.T) matrix.Options {
	t.Helper()
	return matrix.Options{Directory: filepath.Join(t.TempDir(), "results"), Jobs: 2, Program: "1.0", Run: b.run}
}

func runMatrix(ctx context.Context, t *testing.T, m *matrix.Matrix, o matrix.Options) *matrix.Report {
	t.Helper()
	r, err := matrix.Run(ctx, m, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func statuses(r *matrix.Report) map[string]matrix.Status {
	all := map[string]matrix.Status{}
	for _, j := range r.Jobs {
		all[j.Name] = j.Status
	}
	return all
}

func result(t *testing.T, r *matrix.Report, name string) matrix.Result {
	t.Helper()
	for _, j := range r.Jobs {
		if j.Name == name {
			return j
		}
	}
	t.Fatalf("there is no result of %s", name)
	return matrix.Result{}
}

func TestAnImageIsBuiltAfterTheOneThatItIsBuiltOn(t *testing.T) {
	m, b := read(t, grid), &builder{}
	o := b.options(t)
	r := runMatrix(t.Context(), t, m, o)
	if r.Count(matrix.Done) != 9 || r.First() != nil {
		t.Fatalf("%+v", statuses(r))
	}
	for _, j := range m.Jobs {
		if at, base := slices.Index(b.began, j.Name), slices.Index(b.began, j.Base); at < 0 || at < base {
			t.Errorf("%s was begun before %s: %v", j.Name, j.Base, b.began)
		}
		want := ""
		if j.Base != "" {
			want = filepath.Join(o.Directory, "jobs", j.Base, "image", j.Base+".tar")
		}
		if b.bases[j.Name] != want {
			t.Errorf("%s is built on %q, want %q", j.Name, b.bases[j.Name], want)
		}
	}
	if b.most > 2 {
		t.Errorf("%d ran at once", b.most)
	}
	var names []string
	for _, j := range r.Jobs {
		names = append(names, j.Name)
	}
	if d := cmp.Diff(m.File.Jobs, names); d != "" {
		t.Errorf("the results are not in the order of the file: %s", d)
	}
}

func TestTheOrderIsThatInWhichOneAtATimeIsBuilt(t *testing.T) {
	m, b := read(t, grid), &builder{}
	o := b.options(t)
	o.Jobs = 1
	runMatrix(t.Context(), t, m, o)
	var planned []string
	for _, j := range m.Order() {
		planned = append(planned, j.Name)
	}
	if d := cmp.Diff(planned, b.began); d != "" {
		t.Error(d)
	}
}

func TestOneThatFailsFailsAloneButForWhatIsBuiltOnIt(t *testing.T) {
	m := read(t, grid)
	b := &builder{fail: map[string]matrix.Outcome{"debian-sid-minimal": {Exit: 4, Problem: "no such mirror", Hint: "use another"}}}
	o := b.options(t)
	r := runMatrix(t.Context(), t, m, o)
	for name, s := range statuses(r) {
		want := matrix.Done
		switch name {
		case "debian-sid-minimal":
			want = matrix.Failed
		case "debian-sid-web", "debian-sid-shop":
			want = matrix.Skipped
		}
		if s != want {
			t.Errorf("%s is %s, want %s", name, s, want)
		}
	}
	bad := result(t, r, "debian-sid-minimal")
	if bad.Exit != 4 || bad.Reason != "no such mirror" || bad.Hint != "use another" || !slices.Equal(bad.Tail, []string{"building debian-sid-minimal"}) {
		t.Errorf("%+v", bad)
	}
	if first := r.First(); first == nil || first.Name != bad.Name {
		t.Errorf("the first to fail is %+v", first)
	}
	if why := result(t, r, "debian-sid-web").Reason; !strings.Contains(why, "built on debian-sid-minimal") || !strings.Contains(why, "failed") {
		t.Errorf("it was skipped for %q", why)
	}
}

func TestWithFailFastTheOthersAreEnded(t *testing.T) {
	m := read(t, "version: 1\ndefaults: {image: {format: [tar]}}\ndistros: [a, b, c]\n")
	b := &builder{fail: map[string]matrix.Outcome{"b": {Exit: 4, Problem: "bad"}}, hold: map[string]chan struct{}{"a": make(chan struct{})}}
	o := b.options(t)
	o.FailFast = true
	r := runMatrix(t.Context(), t, m, o)
	if d := cmp.Diff(map[string]matrix.Status{"a": matrix.Stopped, "b": matrix.Failed, "c": matrix.Skipped}, statuses(r)); d != "" {
		t.Error(d)
	}
	if why := result(t, r, "c").Reason; why != "b failed, and --fail-fast was given" || r.Interrupted {
		t.Errorf("%q, interrupted: %v", why, r.Interrupted)
	}
}

func TestAnInterruptEndsWhatRunsAndKeepsWhatIsDone(t *testing.T) {
	m := read(t, "version: 1\ndefaults: {image: {format: [tar]}}\ndistros: [a, b, c, d]\n")
	ctx, cancel := context.WithCancel(t.Context())
	b := &builder{hold: map[string]chan struct{}{"b": make(chan struct{}), "c": make(chan struct{})}}
	o := b.options(t)
	var ended []string
	o.Begun = func(j matrix.Job) {
		if j.Name == "c" {
			cancel()
		}
	}
	o.Ended = func(r matrix.Result) { ended = append(ended, r.Name) }
	r := runMatrix(ctx, t, m, o)
	if d := cmp.Diff(map[string]matrix.Status{"a": matrix.Done, "b": matrix.Stopped, "c": matrix.Stopped, "d": matrix.Skipped}, statuses(r)); d != "" {
		t.Error(d)
	}
	if !r.Interrupted || len(ended) != 4 {
		t.Errorf("interrupted: %v, told of %v", r.Interrupted, ended)
	}
	var kept matrix.Report
	readJSON(t, filepath.Join(o.Directory, "results.json"), &kept)
	if d := cmp.Diff(statuses(r), statuses(&kept)); d != "" {
		t.Errorf("on disk is something else: %s", d)
	}

	again := &builder{}
	o.Resume, o.Run, o.Begun = true, again.run, nil
	r = runMatrix(t.Context(), t, m, o)
	slices.Sort(again.began)
	if r.Count(matrix.Done) != 4 || !slices.Equal(again.began, []string{"b", "c", "d"}) {
		t.Errorf("going on built %v, and came to %v", again.began, statuses(r))
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestResumeBuildsAgainWhatIsBuiltOfSomethingElse(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("setup.sh", "echo one\n")
	if err := os.MkdirAll(filepath.Join(dir, "tree/deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("tree/deep/file", "one")
	at := func(text string) *matrix.Matrix {
		m, err := matrix.Read(spec.Source{Name: "images.yaml", Directory: dir, Home: "/root"}, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const text = `version: 1
defaults: {image: {format: [tar]}}
distros: [debian]
variants: [{name: low}, {name: high, base: low, customize: {script: [setup.sh]}}, {name: alone, customize: {copy: ["tree:/opt"]}}]
`
	b := &builder{}
	o := b.options(t)
	o.Resume, o.Jobs = true, 1
	all := []string{"debian-low", "debian-alone", "debian-high"}
	image := filepath.Join(o.Directory, "jobs/debian-alone/image/debian-alone.tar")
	for _, c := range []struct {
		what   string
		change func()
		text   string
		want   []string
	}{
		{"the first time", func() {}, text, all},
		{"nothing", func() {}, text, nil},
		{"a script", func() { write("setup.sh", "echo two\n") }, text, []string{"debian-high"}},
		{"what is copied", func() { write("tree/deep/file", "two") }, text, []string{"debian-alone"}},
		{"a comment of the file", func() {}, text + "# more\n", nil},
		{"a variant", func() {}, strings.Replace(text, "{name: low}", "{name: low, packages: [vim]}", 1), []string{"debian-low"}},
		{"the image", func() { truncate(t, image) }, strings.Replace(text, "{name: low}", "{name: low, packages: [vim]}", 1), []string{"debian-alone"}},
		{"the base's content", func() { b.content = "other"; write("setup.sh", "x") }, strings.Replace(text, "{name: low}", "{name: low, packages: [nano]}", 1), []string{"debian-low", "debian-high"}},
		{"the program", func() { o.Program = "2.0" }, text, all},
		{"what surrounds it", func() { o.Surroundings = "SOURCE_DATE_EPOCH=1" }, text, all},
	} {
		b.began = nil
		c.change()
		r := runMatrix(t.Context(), t, at(c.text), o)
		if r.Count(matrix.Done) != 3 || !slices.Equal(b.began, c.want) {
			t.Errorf("after a change of %s this was built: %v; want %v", c.what, b.began, c.want)
		}
		for _, j := range r.Jobs {
			if j.Resumed == slices.Contains(c.want, j.Name) {
				t.Errorf("after a change of %s, %s is done before: %v", c.what, j.Name, j.Resumed)
			}
		}
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 1); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutResumeEverythingIsBuiltAgain(t *testing.T) {
	m, b := read(t, grid), &builder{}
	o := b.options(t)
	for range 2 {
		b.began = nil
		runMatrix(t.Context(), t, m, o)
		if len(b.began) != 9 {
			t.Errorf("%v", b.began)
		}
	}
}

func TestWhatAnImageOfABrokenHeartSaysIsNotBelieved(t *testing.T) {
	m := read(t, "version: 1\ndefaults: {image: {format: [tar]}}\ndistros: [a]\n")
	for want, out := range map[string]matrix.Outcome{
		"names no image":              {},
		"where it was not told to":    {Image: &matrix.Image{Artifacts: []matrix.Artifact{{Format: "tar", Path: "/etc/passwd"}}}},
		"its image does not pass":     {Image: &matrix.Image{Artifacts: []matrix.Artifact{{Format: "tar"}}, Verify: &matrix.Verify{}}},
		"ended with exit status 7":    {Exit: 7},
		"the reason that image gives": {Exit: 6, Problem: "another", Image: &matrix.Image{Error: &matrix.Fault{Code: 6, Message: "the reason that image gives"}}},
	} {
		b := &builder{fail: map[string]matrix.Outcome{"a": out}}
		o := b.options(t)
		if out.Image != nil && len(out.Image.Artifacts) > 0 && out.Image.Artifacts[0].Path == "" {
			out.Image.Artifacts[0].Path = filepath.Join(o.Directory, "jobs/a/image/a.tar")
		}
		r := runMatrix(t.Context(), t, m, o)
		if res := r.Jobs[0]; res.Status != matrix.Failed || res.Exit == 0 || !strings.Contains(res.Reason, want) {
			t.Errorf("want %q, got %+v", want, res)
		}
	}
}

func TestOnlyBuildsWhatIsAskedForAndWhatThatIsBuiltOn(t *testing.T) {
	m, b := read(t, grid), &builder{}
	part, needed, _ := m.Only([]string{"arch-shop", "arch-minimal"})
	o := b.options(t)
	o.Needed = needed
	r := runMatrix(t.Context(), t, part, o)
	want := map[string]bool{"arch-web": true, "arch-minimal": false, "arch-shop": false}
	got := map[string]bool{}
	for _, j := range r.Jobs {
		got[j.Name] = j.Needed
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, _, unknown := m.Only([]string{"arch-web", "nope"}); unknown != "nope" {
		t.Errorf("%q is unknown", unknown)
	}
	if len(r.File.Jobs) != 9 {
		t.Errorf("the results say of the file that it has %v", r.File.Jobs)
	}
}

func TestResultsAreWrittenIntoNothingThatIsSomebodysElse(t *testing.T) {
	m, b := read(t, grid), &builder{}
	o := b.options(t)
	if err := os.MkdirAll(o.Directory, 0o755); err != nil {
		t.Fatal(err)
	}
	diary := filepath.Join(o.Directory, "diary")
	if err := os.WriteFile(diary, []byte("dear diary"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := matrix.Run(t.Context(), m, o); !errors.Is(err, matrix.ErrForeign) || len(b.began) > 0 {
		t.Errorf("%v, and began %v", err, b.began)
	}
	if entries, _ := os.ReadDir(o.Directory); len(entries) != 1 {
		t.Errorf("it holds %v", entries)
	}
}

func TestTwoRunsDoNotShareResults(t *testing.T) {
	m := read(t, "version: 1\ndefaults: {image: {format: [tar]}}\ndistros: [a]\n")
	b := &builder{}
	o := b.options(t)
	var second error
	o.Begun = func(matrix.Job) {
		other := o
		other.Begun = nil
		_, second = matrix.Run(t.Context(), m, other)
	}
	runMatrix(t.Context(), t, m, o)
	if !errors.Is(second, matrix.ErrBusy) {
		t.Errorf("the second run says %v", second)
	}
}

func TestWhatIsWrongInManyImagesIsSaidOnce(t *testing.T) {
	_, err := matrix.Read(spec.Source{Name: "m.yaml", Directory: "/src", Home: "/root"}, []byte(`version: 1
defaults: {image: {format: [zip]}, mirrors: [nonsense]}
distros: [a, b, c]
`))
	var bad *spec.FileError
	if !errors.As(err, &bad) || len(bad.Findings) != 2 {
		t.Fatalf("%v", err)
	}
	for i, want := range []string{`m.yaml:2:46: mirror: "nonsense"`, `m.yaml:2:29: image.format: "zip"`} {
		if got := bad.Findings[i].Error(); !strings.HasPrefix(got, want) {
			t.Errorf("want %s, got %s", want, got)
		}
	}
}

func TestAnImageNeedsAFormat(t *testing.T) {
	_, err := matrix.Read(spec.Source{Name: "m.yaml", Directory: "/src", Home: "/root"}, []byte("version: 1\ndistros: [a]\n"))
	if err == nil || !strings.Contains(err.Error(), "m.yaml:2:11: image.format: is not given for a") {
		t.Error(err)
	}
}

func TestATailIsTextAndNothingElse(t *testing.T) {
	m := read(t, "version: 1\ndefaults: {image: {format: [tar]}}\ndistros: [a]\n")
	b := &builder{}
	o := b.options(t)
	o.Run = func(_ context.Context, t matrix.Task) matrix.Outcome {
		var text strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&text, "line %d\n", i)
		}
		text.WriteString("\x1b[31mred\x1b[0m \x00\xff\x1b]0;title\x07 over\rwritten\n")
		_ = os.WriteFile(t.Log, []byte(text.String()), 0o644)
		return matrix.Outcome{Exit: 1}
	}
	r := runMatrix(t.Context(), t, m, o)
	got := r.Jobs[0].Tail
	if len(got) != 40 || got[39] != "written" || got[38] != "line 4999" {
		t.Errorf("%d lines: %q", len(got), got)
	}
}

func TestALinkAmongResultsLeadsNowhere(t *testing.T) {
	m := read(t, "version: 1\ndefaults: {image: {format: [tar]}}\ndistros: [a, b]\n")
	for _, link := range []string{"jobs", "jobs/a", "jobs/a/image"} {
		b := &builder{}
		o := b.options(t)
		runMatrix(t.Context(), t, m, o)
		elsewhere := t.TempDir()
		at := filepath.Join(o.Directory, link)
		if err := errors.Join(os.RemoveAll(at), os.Symlink(elsewhere, at)); err != nil {
			t.Fatal(err)
		}
		r, err := matrix.Run(t.Context(), m, o)
		if r == nil || result(t, r, "a").Status != matrix.Failed || !strings.Contains(result(t, r, "a").Reason, link+" is no directory") {
			t.Errorf("%s: %v, %+v", link, err, r)
		}
		if left, _ := os.ReadDir(elsewhere); len(left) > 0 {
			t.Errorf("%s leads to %v", link, left)
		}
	}
}
