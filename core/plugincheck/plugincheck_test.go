package plugincheck_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/plugincheck"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/conformance"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/integration/misbehave"
)

// TestMain makes the test binary the first process of plugins, and the plugins.
func TestMain(m *testing.M) {
	if status, did := pluginhost.Init(os.Args); did {
		os.Exit(status)
	}
	if mode, ok := strings.CutPrefix(filepath.Base(os.Args[0]), sdk.BinaryPrefix); ok {
		misbehave.Run(mode)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// onTrial is a host that tries the test binary under another name.
func onTrial(t *testing.T, name string) (h *pluginhost.Host, path, place string) {
	t.Helper()
	sdktest.AsRoot(t)
	dir, err := os.MkdirTemp("", "nbcheck")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	content, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	h = &pluginhost.Host{RuntimeDir: filepath.Join(dir, "run"), Self: os.Args[0]}
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	place = filepath.Join(dir, "jobs")
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	return h, path, place
}

func try(t *testing.T, mode string) conformance.Report {
	t.Helper()
	h, path, place := onTrial(t, sdk.BinaryPrefix+mode)
	subject, err := plugincheck.New(h, path, 0, place)
	if err != nil {
		t.Fatal(err)
	}
	r, err := conformance.Run(t.Context(), conformance.Config{Subject: subject})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{place, h.RuntimeDir} {
		if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
			t.Errorf("%s is left in %s", left[0].Name(), dir)
		}
	}
	return r
}

func broken(r conformance.Report) (ids []string) {
	for _, result := range r.Results {
		if result.Status == conformance.Broken {
			ids = append(ids, result.ID)
		}
	}
	return ids
}

func TestABinaryIsTriedThoughNothingVouchesForIt(t *testing.T) {
	r := try(t, misbehave.Exemplary)
	if !r.OK || r.Broken != 0 || r.Skipped != 7 { // two about State, five about booting
		t.Errorf("%d kept, %d skipped, broken: %q", r.Kept, r.Skipped, broken(r))
	}
}

func TestWhatAKilledTrialLeftGoesWithTheNext(t *testing.T) {
	sdktest.AsRoot(t)
	dir := filepath.Join(t.TempDir(), "cache")
	left := filepath.Join(dir, "trials", "trial-1", "job-1", "target", "etc")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	place, leave, err := plugincheck.Place(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "trials", "trial-1")); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	other, leaveOther, err := plugincheck.Place(dir)
	if err != nil || other == place {
		t.Fatalf("a second trial at the same time: %q, %v", other, err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(place, "job-2", "target"), 0o700), leaveOther(), leave()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

func TestWhatIsLeftIsFoundFromOutside(t *testing.T) {
	for _, mode := range []string{"daemon", "mounts", "intruder"} {
		m, _ := misbehave.Find(mode)
		if diff := cmp.Diff(m.Breaks, broken(try(t, mode))); diff != "" {
			t.Errorf("%s: the rules that are broken differ (-want +got):\n%s", mode, diff)
		}
	}
}

func TestAFileThatIsNoPluginIsNotRun(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"its name is not that of a plugin": func(string) error { return nil },
		"can be written by others":         func(path string) error { return os.Chmod(path, 0o777) },
		"it is not executable":             func(path string) error { return os.Chmod(path, 0o644) },
		"belongs to user 4242":             func(path string) error { return os.Chown(path, 4242, 0) },
	} {
		file := sdk.BinaryPrefix + misbehave.Exemplary
		if strings.Contains(name, "name") {
			file = "plugin"
		}
		h, path, place := onTrial(t, file)
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		_, err := plugincheck.New(h, path, 0, place)
		var refused *pluginhost.RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), name) || refused.Hint == "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAReportForCIHasACaseForEachRule(t *testing.T) {
	rules := conformance.Rules()
	r := conformance.Report{Plugin: "x", Version: "1.0.0", Distro: "x-os", Results: []conformance.Result{
		{Rule: rules[0], Status: conformance.Kept, Seconds: 0.5},
		{Rule: rules[1], Status: conformance.Broken, Seen: []string{"it printed \"<x>\"", "twice"}},
		{Rule: rules[len(rules)-1], Status: conformance.Skipped, Skipped: "nothing is booted"},
	}}
	var text bytes.Buffer
	if err := plugincheck.WriteJUnit(&text, r); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Suites []struct {
			Name     string `xml:"name,attr"`
			Tests    int    `xml:"tests,attr"`
			Failures int    `xml:"failures,attr"`
			Skipped  int    `xml:"skipped,attr"`
			Cases    []struct {
				Name    string `xml:"name,attr"`
				Failure string `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Suites) != 2 || got.Suites[0].Tests != 2 || got.Suites[0].Failures != 1 || got.Suites[1].Skipped != 1 {
		t.Fatalf("%s", text.String())
	}
	failure := got.Suites[0].Cases[1].Failure
	for _, want := range []string{"it printed \"<x>\"", "twice", rules[1].Why, rules[1].Meet} {
		if !strings.Contains(failure, want) {
			t.Errorf("it does not say %q:\n%s", want, failure)
		}
	}
}
