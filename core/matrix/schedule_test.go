package matrix_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/matrix"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

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

// With fail-fast, what fails by itself while others are being ended has failed.
func TestWhatFailsByItselfIsNotSaidToBeStopped(t *testing.T) {
	m := read(t, "version: 1\ndefaults: {image: {format: [tar]}}\ndistros: [a, b, c, d]\n")
	b := &builder{}
	o := b.options(t)
	o.FailFast, o.Jobs = true, 4
	o.Run = func(ctx context.Context, task matrix.Task) matrix.Outcome {
		if task.Job.Name == "a" {
			return matrix.Outcome{Exit: 4, Problem: "no such mirror"}
		}
		<-ctx.Done()
		return map[string]matrix.Outcome{
			"b": {Exit: 5, Problem: "its script failed", Hint: "mend it"},
			"c": {Exit: 130, Problem: "bootstrap: interrupted", Ended: true},
			"d": {Exit: 130, Problem: "the disk is full", Ended: true},
		}[task.Job.Name]
	}
	r := runMatrix(t.Context(), t, m, o)
	if d := cmp.Diff(map[string]matrix.Status{"a": matrix.Failed, "b": matrix.Failed, "c": matrix.Stopped, "d": matrix.Stopped}, statuses(r)); d != "" {
		t.Error(d)
	}
	if res := result(t, r, "b"); res.Reason != "its script failed" || res.Hint != "mend it" || res.Exit != 5 {
		t.Errorf("%+v", res)
	}
	const why = "a failed, and --fail-fast was given"
	if c, d := result(t, r, "c").Reason, result(t, r, "d").Reason; c != why || d != why+"; it says: the disk is full" {
		t.Errorf("%q, %q", c, d)
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
