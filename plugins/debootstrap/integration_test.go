//go:build integration

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// keep leaves the trees where they are made, to be looked at. It must not be in
// /tmp, which is covered.
var keep = flag.String("keep", "", "directory to leave trees in")

// TestMain runs the tests as the host runs a plugin.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(sdktest.RunContained(m, sdktest.Containment{Keep: *keep}))
}

// request is one for the directories of this test, but for the cache, which
// the tests share: they take much of their time to download the same packages.
func request(t *testing.T, distro, suite string) sdk.Request {
	t.Helper()
	scratch := sdktest.Scratch()
	base := filepath.Join(scratch, strings.ReplaceAll(t.Name(), "/", "-"))
	req := sdk.Request{
		JobID: t.Name(), Distro: distro, Release: suite,
		Target: filepath.Join(base, "tree"), WorkDirectory: filepath.Join(base, "work"),
		CacheDirectory: filepath.Join(scratch, "cache"),
		Options:        map[string]string{},
	}
	for _, directory := range []string{req.Target, req.WorkDirectory, req.CacheDirectory} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			t.Fatal(err)
		}
	}
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

// ownCache gives a request an empty cache of its own.
func ownCache(t *testing.T, req *sdk.Request) {
	t.Helper()
	req.CacheDirectory = filepath.Join(filepath.Dir(req.Target), "cache")
	makeEmpty(t, req.CacheDirectory)
}

// bootstrap runs the job through the real protocol.
func bootstrap(t *testing.T, req sdk.Request) (sdk.Facts, *sdktest.Recorder, error) {
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

// TestBothToolsMakeTheSameMachineOfAnOlderRelease bootstraps from where this
// host gets its own packages; for the current release the test of the cache
// does the same.
func TestBothToolsMakeTheSameMachineOfAnOlderRelease(t *testing.T) {
	t.Parallel()
	sdktest.NeedTools(t, engines...)
	made := map[string]sdk.Facts{}
	for _, engine := range engines {
		req := request(t, "debian", "bookworm")
		req.Target, req.WorkDirectory = req.Target+"-"+engine, req.WorkDirectory+"-"+engine
		makeEmpty(t, req.Target, req.WorkDirectory)
		req.Options[optionEngine] = engine
		facts, recorder, err := bootstrap(t, req)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		checkTree(t, req, facts)
		checkReport(t, recorder)
		made[engine] = facts
	}
	checkSame(t, made)
}

func checkSame(t *testing.T, made map[string]sdk.Facts) {
	t.Helper()
	if diff := cmp.Diff(made[engineMmdebstrap], made[engineDebootstrap]); diff != "" {
		t.Errorf("the machines differ (-mmdebstrap +debootstrap):\n%s", diff)
	}
}

func TestSidIsMadeWithoutSuitesThatItDoesNotHave(t *testing.T) {
	t.Parallel()
	sdktest.NeedTools(t, engineMmdebstrap)
	req := request(t, "debian", "sid")
	req.CacheDirectory = ""
	facts, _, err := bootstrap(t, req)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	checkTree(t, req, facts)
}

func makeEmpty(t *testing.T, directories ...string) {
	t.Helper()
	for _, directory := range directories {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// checkTree checks what every tree has to be, by other means than the plugin's.
func checkTree(t *testing.T, req sdk.Request, facts sdk.Facts) {
	t.Helper()
	names := map[string]bool{}
	for _, p := range facts.Packages {
		names[p.Name] = true
	}
	for _, name := range append([]string{"apt", "systemd-resolved", "libnss-resolve"}, basePackages...) {
		if !names[name] {
			t.Errorf("%s is not among the packages", name)
		}
	}
	query := exec.Command("dpkg-query", "--admindir="+req.Target+"/var/lib/dpkg", "-W", "-f", "${Package} ${Version} ${Architecture} ${db:Status-Status}\n")
	out, err := query.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, p := range facts.Packages {
		fmt.Fprintf(&want, "%s %s %s installed\n", p.Name, p.Version, p.Architecture)
	}
	if diff := cmp.Diff(string(out), want.String()); diff != "" {
		t.Errorf("dpkg-query says otherwise (-dpkg-query +facts):\n%s", diff)
	}
	wantFacts := [][]string{{"ssh.service"}, {"systemd-networkd.service"}, {"systemd-resolved.service"}, {"systemd-firstboot.service"}}
	if diff := cmp.Diff(wantFacts, [][]string{facts.SSHUnits, facts.NetworkUnits, facts.ResolverUnits, facts.MaskUnits}); diff != "" {
		t.Errorf("units differ (-want +got):\n%s", diff)
	}
	for _, gone := range []string{
		temporarySources, temporaryApt, temporaryDpkg, temporaryPins, "etc/hostname", "etc/apt/sources.list", "debootstrap",
		policyFile, "var/lib/dbus/machine-id", "etc/.resolv.conf.systemd-resolved.bak", "sbin/start-stop-daemon.REAL",
		"etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
	} {
		if _, err := os.Lstat(filepath.Join(req.Target, gone)); err == nil {
			t.Errorf("%s was left in the tree", gone)
		}
	}
	for _, pattern := range []string{"run/*", "tmp/*", "dev/*", "var/lib/apt/lists/*", "var/cache/apt/archives/*", "var/cache/apt/*.bin", "var/log/*.log", "etc/ssh/ssh_host_*"} {
		if found, err := filepath.Glob(filepath.Join(req.Target, pattern)); err != nil || len(found) > 0 {
			t.Errorf("%v was left in the tree, %v", found, err)
		}
	}
	if link, err := os.Readlink(filepath.Join(req.Target, "etc/resolv.conf")); err != nil || !strings.HasSuffix(link, "/stub-resolv.conf") {
		t.Errorf("/etc/resolv.conf leads to %q, %v", link, err)
	}
	if info, err := os.Stat(req.Target); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the root directory is %v, %v", info.Mode(), err)
	}
	if err := target.NoMounts(req.Target); err != nil {
		t.Error(err)
	}
	checkSources(t, req)
}

// checkSources asks the apt in the tree what it would read.
func checkSources(t *testing.T, req sdk.Request) {
	t.Helper()
	out, err := exec.Command("chroot", req.Target, "apt-get", "update", "--print-uris").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if _, rest, ok := strings.Cut(line, "/dists/"); ok {
			if suite, file, _ := strings.Cut(rest, "/"); strings.HasPrefix(file, "InRelease'") {
				got = append(got, suite)
			}
		}
	}
	want := []string{req.Release, req.Release + "-updates", req.Release + "-security"}
	if req.Release == "sid" {
		want = want[:1]
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the suites differ (-want +got):\n%s\n%s", diff, out)
	}
}

// checkReport checks what the user saw.
func checkReport(t *testing.T, recorder *sdktest.Recorder) {
	t.Helper()
	if warnings := recorder.Warnings(); len(warnings) != 0 {
		t.Errorf("there are warnings: %q", warnings)
	}
	ends := last(recorder.Events())
	for _, phase := range []string{phaseUnpack, phaseConfigure} {
		if p := ends[phase]; p.Total == 0 || p.Done != p.Total {
			t.Errorf("%s ends at %+v", phase, p)
		}
	}
}
