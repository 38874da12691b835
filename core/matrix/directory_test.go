package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/matrix"
)

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
