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
)

// keep leaves the trees where they are made, to be looked at. It must not be in
// /tmp, which is covered.
var keep = flag.String("keep", "", "directory to leave trees in")

// scratch is the only place of the host that can be written to.
const scratchVariable = "NSPAWN_BUILD_TEST_SCRATCH"

// TestMain runs the tests as the host runs a plugin: in mount and pid
// namespaces of its own, where nothing can be written to but scratch and a
// fresh /tmp.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(scratchVariable) != "" {
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 {
		fmt.Println("skipped: these tests need root")
		if os.Getenv("CI") == "true" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(contained())
}

func contained() int {
	base := *keep
	if base == "" {
		base = "/var/tmp"
	}
	scratch, err := os.MkdirTemp(base, "nspawn-build-debootstrap-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if *keep == "" {
		defer os.RemoveAll(scratch) //nolint:errcheck // the namespace and its mounts are gone
	}
	const setup = `set -e
mount --bind "$0" "$0"
mount -o remount,bind,ro /
mount -t tmpfs tmpfs /tmp
exec "$@"`
	// The program itself may be in /tmp.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	arguments := append([]string{
		"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
		"sh", "-c", setup, scratch, "/proc/self/fd/3",
	}, os.Args[1:]...)
	cmd := exec.Command("unshare", arguments...)
	cmd.Env = append(os.Environ(), scratchVariable+"="+scratch, "TMPDIR="+scratch)
	cmd.ExtraFiles = []*os.File{self}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if sdk.FindTool(tool) == "" {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed", tool)
			}
			t.Skipf("%s is not installed", tool)
		}
	}
}

// request is one for the directories of this test.
func request(t *testing.T, distro, suite string) sdk.Request {
	t.Helper()
	scratch := os.Getenv(scratchVariable)
	base := filepath.Join(scratch, strings.ReplaceAll(t.Name(), "/", "-"))
	req := sdk.Request{
		JobID: t.Name(), Distro: distro, Release: suite,
		Target: filepath.Join(base, "tree"), WorkDirectory: filepath.Join(base, "work"),
		CacheDirectory: filepath.Join(base, "cache"),
		Options:        map[string]string{},
	}
	for _, directory := range []string{req.Target, req.WorkDirectory, req.CacheDirectory} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return req
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

// releases are bootstrapped for real, from where this host gets its packages.
var bootstraps = []struct{ name, suite, engine string }{
	{"trixie with mmdebstrap", "trixie", engineMmdebstrap},
	{"trixie with debootstrap", "trixie", engineDebootstrap},
	{"bookworm with mmdebstrap", "bookworm", engineMmdebstrap},
	{"bookworm with debootstrap", "bookworm", engineDebootstrap},
	{"sid with mmdebstrap", "sid", engineMmdebstrap},
}

func TestBootstrap(t *testing.T) {
	for _, b := range bootstraps {
		t.Run(b.name, func(t *testing.T) {
			need(t, b.engine)
			req := request(t, "debian", b.suite)
			req.Options[optionEngine] = b.engine
			facts, recorder, err := bootstrap(t, req)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			t.Log(facts.SSHUnits, facts.NetworkUnits, facts.ResolverUnits, facts.ProbeHost, len(facts.Packages), recorder.Phases(), recorder.Warnings())
		})
	}
}
