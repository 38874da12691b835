package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

func runIn(t *testing.T, root string, req sdk.Request) (*run, archive) {
	t.Helper()
	h := debianHost()
	j, found := h.resolve(req)
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
	return &run{job: j, host: h, tree: tree{opened}, report: &sdktest.Recorder{}}, j.archives[0]
}

const statusOf = `Package: apt
Status: install ok installed
Architecture: amd64
Version: 3.0.3
Description: a line
 Package: not-a-field
Provides: apt-transport-https (= 3.0.3), apt-virtual

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12
`

func TestAFinishedTreeHasNothingOfTheHostOrTheBootstrap(t *testing.T) {
	sdktest.AsRoot(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := sdktest.Plant(t, map[string]string{
		temporaryApt: "x", temporarySources: "x", temporaryDpkg: "x", temporaryPins: "x",
		"etc/apt/apt.conf.d/99mmdebstrap": "x", "etc/apt/apt.conf.d/01autoremove": "kept",
		"etc/apt/sources.list": "deb x", "etc/hostname": "host", "etc/machine-id": "0123456789abcdef",
		"etc/resolv.conf": "->../run/systemd/resolve/stub-resolv.conf", "etc/.resolv.conf.systemd-resolved.bak": "nameserver x",
		"etc/ssh/ssh_host_ed25519_key": "key", "etc/ssh/ssh_host_ed25519_key.pub": "key", "etc/ssh/sshd_config": "kept",
		"usr/sbin/policy-rc.d": "exit 101", "var/lib/dbus/machine-id": "->/etc/machine-id",
		"var/cache/apt/archives/apt.deb": "deb", "var/cache/apt/pkgcache.bin": "x",
		"var/lib/apt/lists/x_InRelease": "x", "var/log/dpkg.log": "x", "var/log/apt/term.log": "x", "var/log/btmp": "",
		"run/lock/x": "x", "tmp/x": "x", "dev/null": "x", "dev/fd": "->/proc/self/fd", "var/cache/debconf/tmp.ci/x": "x",
		"var/lib/dpkg/status-old": "x", "var/lib/dpkg/status": statusOf,
		"var/tmp": "->" + filepath.Dir(secret),
		"usr/share/keyrings/debian-archive-keyring.gpg": "->debian-archive-keyring.pgp",
		"usr/share/keyrings/debian-archive-keyring.pgp": aKey,
	})
	r, a := runIn(t, root, sdk.Request{Distro: "debian", Release: "trixie"})
	if err := os.Remove(filepath.Join(root, "var/tmp")); err != nil {
		t.Fatal(err)
	}
	if err := r.finish(a); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"etc/apt/apt.conf.d/01autoremove":               "kept",
		"etc/apt/sources.list.d/debian.sources":         r.finalSources(a),
		"etc/machine-id":                                "",
		"etc/resolv.conf":                               "->../run/systemd/resolve/stub-resolv.conf",
		"etc/ssh/sshd_config":                           "kept",
		"var/lib/dpkg/status":                           statusOf,
		"var/log/btmp":                                  "",
		"usr/share/keyrings/debian-archive-keyring.gpg": "->debian-archive-keyring.pgp",
		"usr/share/keyrings/debian-archive-keyring.pgp": aKey,
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
	for _, link := range []string{"var/tmp", "var/log/apt", "dev", "etc/ssh", "etc/apt/sources.list.d", "etc/machine-id", "etc/resolv.conf"} {
		t.Run(link, func(t *testing.T) {
			target := outside
			if strings.HasPrefix(filepath.Base(link), "machine") || strings.HasSuffix(link, ".conf") {
				target = victim
			}
			root := sdktest.Plant(t, map[string]string{link: "->" + target, "usr/share/keyrings/debian-archive-keyring.gpg": aKey})
			r, a := runIn(t, root, sdk.Request{Distro: "debian", Release: "trixie"})
			_ = r.finish(a) // it may refuse; it must not follow
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

func TestAKeyringThatTheDistributionDoesNotBringIsPutIntoTheMachine(t *testing.T) {
	sdktest.AsRoot(t)
	root := sdktest.Plant(t, nil)
	r, a := runIn(t, root, sdk.Request{Distro: "debian", Release: "trixie"})
	key := filepath.Join(t.TempDir(), "keyring.gpg")
	if err := os.WriteFile(key, []byte(aKey), 0o600); err != nil {
		t.Fatal(err)
	}
	r.keyring.path, a.key.path, a.securityKey.path = key, key, key
	if err := r.finish(a); err != nil {
		t.Fatal(err)
	}
	got := sdktest.Planted(t, root)
	if got["etc/apt/keyrings/nspawn-build-debian.gpg"] != aKey {
		t.Errorf("the machine has no keyring: %v", got)
	}
	sources := got["etc/apt/sources.list.d/debian.sources"]
	if strings.Count(sources, "Signed-By: /etc/apt/keyrings/nspawn-build-debian.gpg\n") != 2 {
		t.Errorf("the sources name another keyring:\n%s", sources)
	}
}

func TestAPreparedTreeKeepsTheHostsNamesOut(t *testing.T) {
	sdktest.AsRoot(t)
	root := sdktest.Plant(t, nil)
	r, a := runIn(t, root, sdk.Request{Distro: "debian", Release: "bookworm"})
	if err := r.tree.prepare(r.job, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.tree.useSources(r.job, a, r.fromOutside()); err != nil {
		t.Fatal(err)
	}
	got := sdktest.Planted(t, root)
	for name, want := range map[string]string{
		"etc/hostname": "", "etc/resolv.conf": "", "var/lib/dpkg/status": "", temporaryDpkg: unsynced, temporaryPins: noUsrmerge,
		"bin": "->usr/bin", "sbin": "->usr/sbin", "lib": "->usr/lib", "lib64": "->usr/lib64",
	} {
		if text, there := got[name]; !there || text != want {
			t.Errorf("%s is %q, %v; want %q", name, text, there, want)
		}
	}
	info, err := os.Stat(root)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the root has the mode %v, %v", info.Mode(), err)
	}
}

func TestTheDatabaseOfDpkgIsRead(t *testing.T) {
	root := sdktest.Plant(t, map[string]string{"var/lib/dpkg/status": statusOf})
	opened, err := target.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close() //nolint:errcheck // only looked at
	entries, err := tree{opened}.installed()
	if err != nil {
		t.Fatal(err)
	}
	var got []sdk.Package
	for _, e := range entries {
		got = append(got, e.Package)
	}
	want := []sdk.Package{
		{Name: "apt", Version: "3.0.3", Architecture: "amd64"},
		{Name: "libc6", Version: "2.41-12", Architecture: "amd64"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages differ (-want +got):\n%s", diff)
	}
	asked := []string{"apt", "apt-virtual", "libc6:amd64", "libc6=2.41-12", "libc6=2.40", "libc6:i386", "gone", "git"}
	if diff := cmp.Diff([]string{"libc6=2.40", "libc6:i386", "gone", "git"}, missingPackages(asked, entries)); diff != "" {
		t.Errorf("missing differ (-want +got):\n%s", diff)
	}
}

func TestAHalfInstalledTreeIsNotCalledDone(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"half configured": {"var/lib/dpkg/status": "Package: apt\nStatus: install ok half-configured\n"},
		"unpacked":        {"var/lib/dpkg/status": "Package: apt\nStatus: install ok unpacked\n"},
		"pending updates": {"var/lib/dpkg/status": statusOf, "var/lib/dpkg/updates/0001": "x"},
		"no database":     {"etc/x": ""},
	} {
		opened, err := target.Open(sdktest.Plant(t, files))
		if err != nil {
			t.Fatal(err)
		}
		if entries, err := (tree{opened}).installed(); err == nil {
			t.Errorf("%s: %+v are taken for installed", name, entries)
		}
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAnotherReleaseThanAskedForIsNotTaken(t *testing.T) {
	for name, c := range map[string]struct {
		suite, osRelease string
		right            bool
	}{
		"the release":         {"trixie", "ID=debian\nVERSION_CODENAME=trixie\n", true},
		"by its alias":        {"stable", "ID=debian\nVERSION_CODENAME=trixie\n", true},
		"an older one":        {"trixie", "ID=debian\nVERSION_CODENAME=bookworm\n", false},
		"another distro":      {"trixie", "ID=raspbian\nVERSION_CODENAME=trixie\n", false},
		"sid calls itself so": {"sid", "ID=debian\nVERSION_CODENAME=forky\n", true},
		"testing":             {"testing", "ID=debian\nVERSION_CODENAME=forky\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := runIn(t, sdktest.Plant(t, map[string]string{"etc/os-release": c.osRelease}), sdk.Request{Distro: "debian", Release: c.suite})
			fields, err := sdk.ReadOSRelease(r.target)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.checkRelease(fields); (err == nil) != c.right {
				t.Errorf("the check says %v", err)
			}
		})
	}
}

func TestUnitsAreThoseOfTheTree(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		ssh   []string
	}{
		"debian": {map[string]string{"usr/lib/systemd/system/ssh.service": "", "usr/lib/systemd/system/ssh.socket": ""}, []string{"ssh.service"}},
		"ubuntu with a socket": {map[string]string{
			"usr/lib/systemd/system/ssh.service":                 "",
			"etc/systemd/system/sockets.target.wants/ssh.socket": "->/usr/lib/systemd/system/ssh.socket",
		}, []string{"ssh.socket"}},
		"before merged usr": {map[string]string{"lib/systemd/system/ssh.service": ""}, []string{"ssh.service"}},
		"none":              {nil, nil},
	} {
		opened, err := target.Open(sdktest.Plant(t, c.files))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.ssh, tree{opened}.sshUnits()); diff != "" {
			t.Errorf("%s: units differ (-want +got):\n%s", name, diff)
		}
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParseStatusNeverPanics(f *testing.F) {
	f.Add(statusOf)
	f.Add("Package:\n\n:\n a\nStatus:  \n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseStatus(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(entries, func(e entry) bool { return e.Name == "" }) {
			t.Error("a package without a name")
		}
	})
}
