package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

func runIn(t *testing.T, root string, req sdk.Request) *run {
	t.Helper()
	req.Distro = distro
	j, found := debianHost().resolve(req)
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	j.target, j.work = root, t.TempDir()
	opened, err := target.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return &run{job: j, host: debianHost(), tree: tree{opened}, report: &sdktest.Recorder{}}
}

func TestAFinishedTreeHasNothingOfTheHostOrTheBootstrap(t *testing.T) {
	sdktest.AsRoot(t)
	root := sdktest.Plant(t, map[string]string{
		"etc/hostname": "host", "etc/machine-id": "0123456789abcdef", "etc/resolv.conf": "# of a package",
		"etc/ssh/ssh_host_ed25519_key": "key", "etc/ssh/sshd_config": "kept",
		"etc/pacman.d/mirrorlist": "Server = of the package", "etc/pacman.conf": "kept",
		"etc/pacman.d/gnupg/S.gpg-agent": "x", "etc/pacman.d/gnupg/pubring.gpg~": "x", "etc/pacman.d/gnupg/pubring.gpg": "kept",
		"var/lib/dbus/machine-id": "->/etc/machine-id", "var/lib/systemd/random-seed": "x",
		"var/cache/pacman/pkg/bash.pkg.tar.zst": "x", "var/cache/ldconfig/aux-cache": "x",
		"var/lib/pacman/sync/core.db": "x", "var/lib/pacman/local/ALPM_DB_VERSION": "9",
		"var/log/pacman.log": "x", "run/lock/x": "x", "tmp/x": "x", "dev/null": "x", "dev/fd": "->/proc/self/fd", "var/tmp/x": "x",
	})
	r := runIn(t, root, sdk.Request{})
	if err := r.finish(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"etc/machine-id": "", "etc/resolv.conf": "# of a package", "etc/ssh/sshd_config": "kept",
		"etc/pacman.d/mirrorlist": r.mirrorList(), "etc/pacman.conf": "kept", "etc/pacman.d/gnupg/pubring.gpg": "kept",
		"var/lib/pacman/local/ALPM_DB_VERSION": "9",
		renewPath:                              renewUnit, renewLink: "->/" + renewPath,
	}
	if diff := cmp.Diff(want, sdktest.Planted(t, root)); diff != "" {
		t.Errorf("the tree differs (-want +got):\n%s", diff)
	}
}

func TestTidyingIsNeverLedOutOfTheTree(t *testing.T) {
	sdktest.AsRoot(t)
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"var/tmp", "var/log", "dev", "etc/ssh", "etc/pacman.d", "etc/pacman.d/mirrorlist", "etc/machine-id", "var/lib/pacman", "etc/systemd", "etc/systemd/system", "etc/systemd/system/multi-user.target.wants"} {
		t.Run(link, func(t *testing.T) {
			to := outside
			if name := filepath.Base(link); name == "mirrorlist" || name == "machine-id" {
				to = victim
			}
			r := runIn(t, sdktest.Plant(t, map[string]string{link: "->" + to}), sdk.Request{})
			_ = r.finish() // it may refuse; it must not follow
			entries, err := os.ReadDir(outside)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(victim)
			if err != nil || string(text) != "of the host" || len(entries) != 1 {
				t.Errorf("outside there is now %v with %q, %v", entries, text, err)
			}
		})
	}
}

func TestAPreparedTreeHasAKeyringAndDirectoriesOfTheRightModes(t *testing.T) {
	sdktest.AsRoot(t)
	from := sdktest.Plant(t, map[string]string{"pubring.gpg": "keys", "private-keys-v1.d/a.key": "secret"})
	if err := errors.Join(os.Chmod(filepath.Join(from, "private-keys-v1.d"), 0o700), os.Chmod(filepath.Join(from, "private-keys-v1.d/a.key"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r := runIn(t, sdktest.Plant(t, nil), sdk.Request{})
	if err := r.tree.prepare(from); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"etc/pacman.d/gnupg/pubring.gpg": "keys", "etc/pacman.d/gnupg/private-keys-v1.d/a.key": "secret"}
	if diff := cmp.Diff(want, sdktest.Planted(t, r.target)); diff != "" {
		t.Errorf("the tree differs (-want +got):\n%s", diff)
	}
	for name, mode := range map[string]fs.FileMode{
		"dev": 0o755, "run": 0o755, "proc": 0o555, "sys": 0o555, "tmp": 0o777 | fs.ModeSticky, "var/lib/pacman": 0o755,
		"etc/pacman.d/gnupg/private-keys-v1.d": 0o700, "etc/pacman.d/gnupg/private-keys-v1.d/a.key": 0o600,
	} {
		info, err := os.Stat(filepath.Join(r.target, name))
		if err != nil {
			t.Error(err)
		} else if got := info.Mode() &^ fs.ModeDir; got != mode {
			t.Errorf("%s has the mode %v, want %v", name, got, mode)
		}
	}
}

const bashDesc = `%NAME%
bash

%VERSION%
5.2.37-1

%DESC%
%NAME%
not a field

%ARCH%
x86_64

%GROUPS%
shells

%PROVIDES%
sh
libreadline.so=8-64
`

func TestTheDatabaseOfPacmanIsRead(t *testing.T) {
	r := runIn(t, sdktest.Plant(t, map[string]string{
		"var/lib/pacman/local/ALPM_DB_VERSION":       "9",
		"var/lib/pacman/local/bash-5.2.37-1/desc":    bashDesc,
		"var/lib/pacman/local/attr-1:2.5-1/desc":     "%NAME%\nattr\n\n%VERSION%\n1:2.5-1\n\n%ARCH%\nany\n",
		"var/lib/pacman/local/bash-5.2.37-1/install": "not read",
	}), sdk.Request{})
	entries, err := r.tree.installed()
	if err != nil {
		t.Fatal(err)
	}
	var got []sdk.Package
	for _, e := range entries {
		got = append(got, e.Package)
	}
	want := []sdk.Package{
		{Name: "attr", Version: "1:2.5-1", Architecture: "any"},
		{Name: "bash", Version: "5.2.37-1", Architecture: "x86_64"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages differ (-want +got):\n%s", diff)
	}
	packages, groups, missing := sortOut([]string{"bash", "core/attr", "sh", "shells", "libreadline.so", "vim", "core/vi"}, entries)
	if diff := cmp.Diff([][]string{{"bash", "attr", "sh", "libreadline.so"}, {"shells"}, {"vim", "core/vi"}}, [][]string{packages, groups, missing}); diff != "" {
		t.Errorf("they are sorted out otherwise (-want +got):\n%s", diff)
	}
}

func TestAHalfInstalledTreeIsNotCalledDone(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"locked":       {"var/lib/pacman/db.lck": "", "var/lib/pacman/local/bash-5.2.37-1/desc": bashDesc},
		"no database":  {"etc/x": ""},
		"half written": {"var/lib/pacman/local/bash-5.2.37-1/desc": "%NAME%\nbash\n"},
		"empty":        {"var/lib/pacman/local/bash-5.2.37-1/desc": ""},
		"unwritten":    {"var/lib/pacman/local/bash-5.2.37-1/files": ""},
		"4 of 107":     {"var/lib/pacman/local/bash-5.2.37-1/desc": bashDesc},
	} {
		r := runIn(t, sdktest.Plant(t, files), sdk.Request{})
		_, err := r.check(t.Context())
		if failure := sdk.AsFailure(err); err == nil || failure.Code != sdk.CodeTool || failure.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnotherDistributionThanAskedForIsNotTaken(t *testing.T) {
	for id, right := range map[string]bool{"arch": true, "archarm": false, "manjaro": false, "": false} {
		r := runIn(t, sdktest.Plant(t, map[string]string{"etc/os-release": "ID=" + id + "\n"}), sdk.Request{})
		_, err := r.facts(nil)
		if (err == nil) != right || err != nil && sdk.AsFailure(err).Code != sdk.CodeMirror {
			t.Errorf("ID=%s: %v", id, err)
		}
	}
}

func TestFactsAreOfWhatIsThere(t *testing.T) {
	r := runIn(t, sdktest.Plant(t, map[string]string{
		"etc/os-release": "->../usr/lib/os-release", "usr/lib/os-release": "ID=arch\n",
		"usr/lib/systemd/system/sshd.service": "", "usr/lib/systemd/system/systemd-networkd.service": "",
		"usr/lib/systemd/system/systemd-resolved.service": "", "usr/lib/systemd/system/systemd-firstboot.service": "",
	}), sdk.Request{Mirrors: []string{"file:///srv/$repo", "https://a.example.org/$repo"}})
	got, err := r.facts([]entry{{Package: sdk.Package{Name: "bash", Version: "1-1", Architecture: "any"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := sdk.Facts{
		OSRelease: map[string]string{"ID": "arch"}, SSHUnits: []string{"sshd.service"}, NetworkUnits: []string{"systemd-networkd.service"},
		ResolverUnits: []string{"systemd-resolved.service"}, PackageManager: "pacman", MaskUnits: []string{"systemd-firstboot.service"},
		Packages: []sdk.Package{{Name: "bash", Version: "1-1", Architecture: "any"}}, ProbeHost: "a.example.org",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts differ (-want +got):\n%s", diff)
	}
}

func FuzzParseDesc(f *testing.F) {
	f.Add(bashDesc)
	f.Add("%NAME%\n\n%%\n%\n%VERSION%\n1")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseDesc(strings.NewReader(text))
		if err == nil && (e.Name == "" || e.Version == "") {
			t.Errorf("%+v has no name or no version", e)
		}
	})
}
