package sdktest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// TestABinaryIsTriedByTheProgram has a script in the place of nspawn-build, which
// in truth is tried in the scenarios on hosts.
func TestABinaryIsTriedByTheProgram(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "nspawn-build")
	script := "#!/bin/sh\nprintf '%s\\n' \"$@\" > " + dir + "/said\n" +
		`echo '{"ok":false,"kept":1,"results":[{"id":"handshake-line","status":"kept"},{"id":"tree-init","status":"broken","seen":["none"]}]}'; exit 4` + "\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	r := sdktest.Check(t, sdktest.Config{
		Program: program, Binary: "nspawn-build-plugin-x", Boot: true, Only: []string{"tree"},
		Request: sdk.Request{Distro: "x", Mirrors: []string{"file:///srv"}, Options: map[string]string{"colour": "red"}},
	})
	if r.Kept != 1 || len(r.Results) != 2 || r.Results[1].Seen[0] != "none" {
		t.Errorf("%+v", r)
	}
	said, err := os.ReadFile(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"plugin", "check", "--output", "json", "--distro=x", "--mirror=file:///srv", "--option=colour=red", "--only=tree", "--boot",
		filepath.Join(here, "nspawn-build-plugin-x"),
	}
	if got := strings.Split(strings.TrimSpace(string(said)), "\n"); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("it was run as %q", got)
	}
}
