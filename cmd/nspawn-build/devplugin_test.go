package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

// withDev is a program whose line has --dev-plugin with these values.
func withDev(t *testing.T, values ...string) (*app, *bytes.Buffer, error) {
	t.Helper()
	var out bytes.Buffer
	a := newApp(streams{os.Stdin, &out, &out})
	set := flag.NewFlagSet("matrix", flag.ContinueOnError)
	if err := devPluginFlag().Apply(set); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, v := range values {
		args = append(args, "--dev-plugin", v)
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return a, &out, a.readDevPlugins(cli.NewContext(a.cli, set, nil))
}

func TestAPluginInDevelopmentIsOfTheOneWhoCalledSudo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.out")
	for uid, want := range map[string]uint32{"1234": 1234, "": 0, "-1": 0, "root": 0, "99999999999": 0} {
		t.Setenv("SUDO_UID", uid)
		a, out, err := withDev(t, "zypper="+path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]pluginhost.DevPlugin{{Name: "zypper", Path: path, Owner: want}}, a.plugins().Dev); diff != "" {
			t.Errorf("SUDO_UID=%s (-want +got):\n%s", uid, diff)
		}
		if !strings.Contains(out.String(), "NOTHING VOUCHES FOR IT") {
			t.Errorf("it is not loud: %s", out)
		}
	}
}

func TestEachImageOfAMatrixHasThePluginInDevelopment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.out")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, _, err := withDev(t, "x="+path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"--dev-plugin", "x=" + path}, a.devWords()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What --resume takes for done was done by the very same program.
	before := a.surroundings(nil)
	if err := os.WriteFile(path, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	without, _, err := withDev(t)
	if err != nil {
		t.Fatal(err)
	}
	if after := a.surroundings(nil); before == after || without.surroundings(nil) == before {
		t.Errorf("another program, or none, is taken for the same:\n%s", after)
	}
}

func TestNoDefaultNamesAPluginInDevelopment(t *testing.T) {
	if takesDefault(devPluginFlag()) {
		t.Error("--dev-plugin can be set by the environment or a file")
	}
	if _, err := parseConfig([]byte("dev-plugin: x=/y\n")); err == nil {
		t.Error("the file of defaults takes dev-plugin")
	}
}

func TestPluginsAreCompletedByTheirNames(t *testing.T) {
	// A build tree has them beside the program, which is the test here.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(self), "plugins")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, name := range []string{"test-one", "test-two"} {
		if err := os.WriteFile(filepath.Join(dir, pluginhost.FileOf(name)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	app := newApp(streams{os.Stdin, &bytes.Buffer{}, &bytes.Buffer{}}).cli
	for line, want := range map[string]string{
		"plugin remove test-": "test-one test-two", "plugin describe test-t": "test-two", "plugin verify test-one test-": "test-two", "plugin remove test-one test-": "",
	} {
		if got := words(suggest(app, strings.Split(line, " "), onHost{machines: func() []string { return []string{"test-machine"} }})); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
