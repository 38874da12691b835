package sdk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

func TestATreeIsComparedWithWhatWasReportedOfIt(t *testing.T) {
	good := func() (map[string]string, sdk.Facts) {
		tree := map[string]string{
			"usr/lib/os-release":              "ID=x\nVERSION_ID=1\n",
			"etc/os-release":                  "->../usr/lib/os-release",
			"sbin":                            "->usr/sbin",
			"usr/sbin/init":                   "->/usr/lib/systemd/systemd",
			"usr/lib/systemd/systemd":         "",
			"usr/lib/systemd/system/a.socket": "",
			"etc/systemd/system/b.service":    "",
		}
		facts := sdk.Facts{
			OSRelease: map[string]string{"ID": "x", "VERSION_ID": "1"},
			SSHUnits:  []string{"a.socket"}, NetworkUnits: []string{"b.service"},
		}
		return tree, facts
	}
	for name, c := range map[string]struct {
		change func(files map[string]string, f *sdk.Facts)
		want   string // "ID: a part of what is said", empty when all is well
	}{
		"as reported":   {func(map[string]string, *sdk.Facts) {}, ""},
		"no os-release": {func(files map[string]string, _ *sdk.Facts) { delete(files, "usr/lib/os-release") }, "facts-os-release: no os-release"},
		"os-release leads out": {func(files map[string]string, _ *sdk.Facts) {
			files["etc/os-release"] = "->/etc/hostname"
			delete(files, "usr/lib/os-release")
		}, "facts-os-release: no os-release"},
		"os-release without ID": {func(files map[string]string, _ *sdk.Facts) { files["usr/lib/os-release"] = "NAME=x\n" }, "facts-os-release: has no ID"},
		"another version":       {func(_ map[string]string, f *sdk.Facts) { f.OSRelease["VERSION_ID"] = "2" }, `facts-os-release: VERSION_ID is "1" in the tree and "2" in the facts`},
		"a field too many":      {func(_ map[string]string, f *sdk.Facts) { f.OSRelease["NAME"] = "X" }, `facts-os-release: NAME is "X" in the facts and not in the tree`},
		"no init":               {func(files map[string]string, _ *sdk.Facts) { delete(files, "usr/lib/systemd/systemd") }, "tree-init: neither"},
		"no unit for sshd":      {func(_ map[string]string, f *sdk.Facts) { f.SSHUnits = nil }, "facts-ssh-units: no unit for sshd"},
		"no network":            {func(_ map[string]string, f *sdk.Facts) { f.NetworkUnits = nil }, "facts-network-units: it is empty"},
		"a unit that is not there": {
			func(_ map[string]string, f *sdk.Facts) { f.ResolverUnits = []string{"c.service"} },
			"facts-units-exist: the tree has no unit c.service, which resolver_units names",
		},
	} {
		files, facts := good()
		c.change(files, &facts)
		root := sdktest.Plant(t, files)
		if init := filepath.Join(root, "usr/lib/systemd/systemd"); files["usr/lib/systemd/systemd"] == "" {
			_ = os.Chmod(init, 0o755) // where there is one
		}
		broken := sdk.CheckTree(root, facts)
		if c.want == "" {
			if len(broken) > 0 {
				t.Errorf("%s: %v", name, broken[0])
			}
			continue
		}
		id, says, _ := strings.Cut(c.want, ": ")
		if len(broken) != 1 || broken[0].ID != id || !strings.Contains(broken[0].Detail, says) {
			t.Errorf("%s: got %v", name, broken)
		}
	}
}

func TestFilesOfARequestAreThoseThatAreThere(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := sdk.FilesOf(sdk.Request{Keyring: key, Mirrors: []string{"https://example.org/", "file://" + dir + "/$repo", "copy:///no/such"}})
	if strings.Join(got, " ") != key+" "+dir {
		t.Errorf("got %q", got)
	}
}
