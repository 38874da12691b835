package matrix_test

import (
	"bytes"
	"encoding/xml"
	"os"
	"strings"
	"testing"
	"time"

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
	missing.Distro, missing.Release, missing.Labels = "", "", nil // as nobody knows of it
	stopped.Reason = "interrupted"
	return &matrix.Report{
		Version: 1, Program: "1.0", Host: "runner", File: matrix.File{Name: "images <b>.yaml"}, Started: at, Seconds: 20,
		Jobs: []matrix.Result{done, failed, unfit, skipped, missing, stopped},
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
	var got struct {
		Suites []struct {
			Name  string `xml:"name,attr"`
			T     string `xml:"tests,attr"`
			F     string `xml:"failures,attr"`
			E     string `xml:"errors,attr"`
			S     string `xml:"skipped,attr"`
			At    string `xml:"timestamp,attr"`
			Host  string `xml:"hostname,attr"`
			Time  string `xml:"time,attr"`
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
		if s.At != "2026-11-26T01:02:03" || s.Host != "runner" || s.Time == "" { // what schemas ask for
			t.Errorf("%+v", s)
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
