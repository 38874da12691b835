//go:build integration

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// keep leaves the trees where they are made, to be looked at. It must not be in
// /tmp, which is covered.
var keep = flag.String("keep", "", "directory to leave trees in")

// TestMain runs the tests as the host runs a plugin.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(sdktest.RunContained(m, sdktest.Containment{
		Keep: *keep, Prepare: "TestTheRepositoriesAreMade", Writable: []string{cacheRoot()},
	}))
}

func TestTheRepositoriesAreMade(t *testing.T) {
	good := testrepo.Fedora(t)
	for _, flaw := range flaws {
		good.Flawed(t, flaw.flaw)
	}
}

// cacheRoot is the directory that testrepo keeps the repositories in.
func cacheRoot() string {
	if directory := os.Getenv("NSPAWN_BUILD_TEST_CACHE"); directory != "" {
		return directory
	}
	return "/var/cache/nspawn-build-test"
}

// request is one for the directories of this test and a repository.
func request(t *testing.T, from *testrepo.Repo) sdk.Request {
	t.Helper()
	sdktest.NeedTools(t, "dnf", "rpm", sysusers)
	base := filepath.Join(sdktest.Scratch(), strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()))
	req := sdk.Request{
		JobID: t.Name(), Distro: "fedora", Release: testrepo.FedoraRelease,
		Mirrors: []string{from.Mirror()}, Keyring: from.Keyring,
		Target: filepath.Join(base, "tree"), WorkDirectory: filepath.Join(base, "work"),
		CacheDirectory: filepath.Join(base, "cache"),
		Options:        map[string]string{optionSignatures: "required"},
	}
	makeEmpty(t, req.Target, req.WorkDirectory, req.CacheDirectory)
	if *keep == "" {
		t.Cleanup(func() {
			if err := target.NoMounts(base); err != nil {
				t.Error(err)
			} else if err := os.RemoveAll(base); err != nil {
				t.Error(err)
			}
		})
	}
	return req
}

func makeEmpty(t *testing.T, directories ...string) {
	t.Helper()
	for _, directory := range directories {
		if err := os.RemoveAll(directory); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(directory, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// bootstrap runs the job through the real protocol.
func bootstrap(t *testing.T, req sdk.Request) (sdk.Facts, *sdktest.Recorder, error) {
	t.Helper()
	facts, recorder, err := bootstrapAny(t, req)
	nothingLeft(t, req)
	return facts, recorder, err
}

// bootstrapAny is bootstrap for a target that is a mount itself.
func bootstrapAny(t *testing.T, req sdk.Request) (sdk.Facts, *sdktest.Recorder, error) {
	t.Helper()
	var recorder sdktest.Recorder
	facts, err := sdktest.Start(t, newPlugin()).Bootstrap(context.Background(), req, &recorder)
	if err != nil || testing.Verbose() {
		for _, line := range recorder.Lines() {
			t.Log(line)
		}
	}
	return facts, &recorder, err
}

// nothingLeft makes sure that a job has left no mount and no process.
func nothingLeft(t *testing.T, req sdk.Request) {
	t.Helper()
	if err := target.NoMounts(req.Target); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		if strings.Contains(string(line), filepath.Dir(req.Target)+"/") {
			t.Errorf("%s was left: %q", filepath.Base(filepath.Dir(file)), line)
		}
	}
}

// checkTree checks what every tree has to be, by other means than the plugin's.
func checkTree(t *testing.T, req sdk.Request, facts sdk.Facts) {
	t.Helper()
	inTree := func(argv ...string) string {
		out, err := exec.Command("chroot", append([]string{req.Target}, argv...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v\n%s", argv, err, out)
		}
		return string(out)
	}
	listed := inTree("rpm", "-qa", "--qf", "%{NAME}\n")
	for _, name := range append([]string{"fedora-release", "dnf5"}, basePackages...) {
		if !strings.Contains("\n"+listed, "\n"+name+"\n") {
			t.Errorf("the tree's own rpm does not know %s", name)
		}
	}
	if got, want := strings.Count(listed, "\n")-strings.Count(listed, "gpg-pubkey\n"), len(facts.Packages); got != want {
		t.Errorf("the tree's own rpm knows %d packages, the facts %d", got, want)
	}
	got := fmt.Sprintln(facts.SSHUnits, facts.NetworkUnits, facts.ResolverUnits, facts.MaskUnits, facts.PackageManager, facts.OSRelease["ID"], facts.OSRelease["VERSION_ID"])
	want := "[sshd.service] [systemd-networkd.service] [systemd-resolved.service] [systemd-firstboot.service] dnf fedora " + req.Release + "\n"
	if got != want {
		t.Errorf("the facts are %s, want %s", got, want)
	}
	for _, gone := range []string{"etc/hostname", "root/.rpmdb", "root/.gnupg", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed"} {
		if _, err := os.Lstat(filepath.Join(req.Target, gone)); err == nil {
			t.Errorf("%s was left in the tree", gone)
		}
	}
	for _, pattern := range []string{"run/*", "tmp/*", "dev/*", "proc/*", "sys/*", "var/tmp/*", "var/cache/dnf/*", "var/cache/libdnf5/*", "var/log/*.log*", "etc/ssh/ssh_host_*"} {
		if found, err := filepath.Glob(filepath.Join(req.Target, pattern)); err != nil || len(found) > 0 {
			t.Errorf("%v was left in the tree, %v", found, err)
		}
	}
	for name, want := range map[string]os.FileMode{
		".": os.ModeDir | 0o755, "tmp": os.ModeDir | os.ModeSticky | 0o777, "proc": os.ModeDir | 0o555, "root": os.ModeDir | 0o700,
	} {
		if info, err := os.Stat(filepath.Join(req.Target, name)); err != nil || info.Mode() != want {
			t.Errorf("/%s is %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	for _, user := range []string{"systemd-network:x:", "systemd-resolve:x:", "sshd:x:"} {
		passwd, err := os.ReadFile(filepath.Join(req.Target, "etc/passwd"))
		if err != nil || !strings.Contains(string(passwd), "\n"+user) {
			t.Errorf("there is no user %s, %v", user, err)
		}
	}
}
