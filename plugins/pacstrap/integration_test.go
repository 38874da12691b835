//go:build integration

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	os.Exit(sdktest.RunContained(m, sdktest.Containment{
		Keep: *keep, Prepare: "TestTheRepositoryIsMade", Writable: []string{cacheRoot()},
	}))
}

func need(t *testing.T) {
	t.Helper()
	for _, tool := range tools {
		sdktest.NeedTools(t, tool.name)
	}
}

// request is one for the directories of this test, which are deep enough for
// their paths to be too long for sockets.
func request(t *testing.T, from repository) sdk.Request {
	t.Helper()
	need(t)
	scratch := sdktest.Scratch()
	name := strings.ReplaceAll(t.Name(), "/", "-")
	base := filepath.Join(scratch, name, strings.Repeat("long-", 12))
	req := sdk.Request{
		JobID: t.Name(), Distro: distro,
		Mirrors: []string{from.mirror}, Keyring: from.keyring,
		Target: filepath.Join(base, "tree"), WorkDirectory: filepath.Join(base, "work"),
		CacheDirectory: filepath.Join(scratch, "cache"),
		Options:        map[string]string{},
	}
	makeEmpty(t, req.Target, req.WorkDirectory, req.CacheDirectory)
	if *keep == "" {
		t.Cleanup(func() {
			if err := target.NoMounts(base); err != nil {
				t.Error(err)
			} else if err := os.RemoveAll(filepath.Join(scratch, name)); err != nil {
				t.Error(err)
			}
		})
	}
	return req
}

func makeEmpty(t *testing.T, directories ...string) {
	t.Helper()
	for _, directory := range directories {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			t.Fatal(err)
		}
	}
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

// TestAMachineIsMade bootstraps one and looks at it with the tools of the host.
func TestAMachineIsMade(t *testing.T) {
	from := sound(t)
	req := request(t, from)
	ownCache(t, &req)
	facts, recorder, err := bootstrap(t, req)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	checkTree(t, req, facts)
	checkReport(t, recorder)
	checkMachineKeyring(t, req)
	nothingLeft(t, req)
}

// TestACancelledJobLeavesNothing cancels one amid the installation, after which
// pacstrap has been seen to exit with status 0.
func TestACancelledJobLeavesNothing(t *testing.T) {
	req := request(t, sound(t))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := newPlugin().Bootstrap(ctx, req, &cancelAt{phase: phaseUnpack, cancel: cancel})
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != sdk.CodeCanceled {
		t.Errorf("the error is %v, not a cancellation", err)
	}
	nothingLeft(t, req)
}

// cancelAt cancels a job when it enters a phase.
type cancelAt struct {
	sdktest.Recorder

	phase  string
	cancel context.CancelFunc
}

func (c *cancelAt) Phase(name string) {
	if name == c.phase {
		c.cancel()
	}
}

// checkTree checks what every tree has to be, by other means than the plugin's.
func checkTree(t *testing.T, req sdk.Request, facts sdk.Facts) {
	t.Helper()
	out, err := exec.Command("pacman", "-r", req.Target, "--config", "/dev/null", "-Q").Output()
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	names := map[string]bool{}
	for _, p := range facts.Packages {
		names[p.Name] = true
		fmt.Fprintf(&want, "%s %s\n", p.Name, p.Version)
	}
	if diff := cmp.Diff(string(out), want.String()); diff != "" {
		t.Errorf("pacman says otherwise (-pacman +facts):\n%s", diff)
	}
	for _, name := range append([]string{"pacman", "systemd"}, basePackages...) {
		if !names[name] {
			t.Errorf("%s is not among the packages", name)
		}
	}
	wantFacts := [][]string{{"sshd.service"}, {"systemd-networkd.service"}, {"systemd-resolved.service"}, {"pacman"}, {"arch"}}
	if diff := cmp.Diff(wantFacts, [][]string{
		facts.SSHUnits, facts.NetworkUnits, facts.ResolverUnits, {facts.PackageManager}, {facts.OSRelease["ID"]},
	}); diff != "" {
		t.Errorf("facts differ (-want +got):\n%s", diff)
	}
	for _, pattern := range []string{
		"run/*", "tmp/*", "dev/*", "var/tmp/*", "var/cache/pacman/pkg/*", "var/lib/pacman/sync/*", "var/lib/pacman/db.lck", "var/log/*.log",
		"etc/ssh/ssh_host_*", "etc/hostname", "etc/*.pacnew", "etc/*/*.pacnew", "etc/pacman.d/gnupg/S.*", "etc/pacman.d/gnupg/*~",
		"root/.gnupg", "root/.cache", "var/lib/systemd/random-seed", "var/lib/dbus/machine-id",
	} {
		if found, err := filepath.Glob(filepath.Join(req.Target, pattern)); err != nil || len(found) > 0 {
			t.Errorf("%v was left in the tree, %v", found, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(req.Target, "etc/machine-id")); err == nil && len(text) > 0 {
		t.Errorf("the machine has the identity %q", text)
	}
	for name, mode := range map[string]os.FileMode{".": 0o755, "dev": 0o755, "run": 0o755, "proc": 0o555, "sys": 0o555, "tmp": 0o777 | os.ModeSticky} {
		info, err := os.Stat(filepath.Join(req.Target, name))
		if err != nil {
			t.Error(err)
		} else if got := info.Mode() &^ os.ModeDir; got != mode {
			t.Errorf("%s has the mode %v, want %v", name, got, mode)
		}
	}
	nothingOfTheHost(t, req)
}

// nothingOfTheHost looks for the paths of the bootstrap in all files that are
// not of packages.
func nothingOfTheHost(t *testing.T, req sdk.Request) {
	t.Helper()
	for _, path := range []string{sdktest.Scratch()} {
		// The list of mirrors says where the machine came from, on purpose.
		out, err := exec.Command("grep", "-rlF", "--exclude=mirrorlist", path, req.Target).CombinedOutput()
		if len(out) > 0 {
			t.Errorf("%s is named in %s, %v", path, out, err)
		}
	}
}

// checkReport checks what the user saw.
func checkReport(t *testing.T, recorder *sdktest.Recorder) {
	t.Helper()
	if warnings := recorder.Warnings(); len(warnings) != 0 {
		t.Errorf("there are warnings: %q", warnings)
	}
	var phases []string
	last := map[string]sdk.Progress{}
	for _, e := range recorder.Events() {
		switch e.Kind {
		case "phase":
			phases = append(phases, e.Text)
		case "progress":
			last[phases[len(phases)-1]] = e.Progress
		}
	}
	want := []string{phaseKeys, phaseIndex, phaseDownload, phaseVerify, phaseUnpack, phaseConfigure, phaseTrust, phaseTidy}
	if diff := cmp.Diff(want, phases); diff != "" {
		t.Errorf("phases differ (-want +got):\n%s", diff)
	}
	for _, phase := range []string{phaseDownload, phaseUnpack, phaseConfigure} {
		if p := last[phase]; p.Total == 0 || p.Done != p.Total {
			t.Errorf("%s ends at %+v", phase, p)
		}
	}
}

// checkMachineKeyring asks the machine's own tools whether it would trust what
// it was made from.
func checkMachineKeyring(t *testing.T, req sdk.Request) {
	t.Helper()
	// A copy of the keyring: asking starts an agent with sockets in it.
	out, err := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec",
		`mount -t tmpfs tmpfs "$0/tmp"; mount --rbind /dev "$0/dev"; mount -t proc proc "$0/proc"
cp -a "$0/etc/pacman.d/gnupg" "$0/tmp/gnupg"; chroot "$0" gpg --homedir /tmp/gnupg --no-permission-warning --with-colons --list-keys`,
		req.Target).Output()
	if err != nil || !trustsAny(parseKeys(strings.Split(string(out), "\n"))) {
		t.Errorf("the machine trusts no key: %v\n%s", err, out)
	}
	secrets, err := filepath.Glob(filepath.Join(req.Target, machineKeyring, "private-keys-v1.d", "*.key"))
	if err != nil || len(secrets) != 1 {
		t.Errorf("the machine has %d secret keys, %v", len(secrets), err)
	}
}

// nothingLeft looks for what a job may leave: mounts, processes, agents and
// files beside its tree.
func nothingLeft(t *testing.T, req sdk.Request) {
	t.Helper()
	if err := target.NoMounts(filepath.Dir(req.Target)); err != nil {
		t.Error(err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		command := strings.ReplaceAll(string(text), "\x00", " ")
		if strings.Contains(command, req.Target+" ") || strings.HasPrefix(command, "gpg-agent") {
			t.Errorf("%s still runs: %s", filepath.Dir(file), command)
		}
	}
	if left, err := filepath.Glob(filepath.Join(sdktest.Scratch(), "pacstrap-*")); err != nil || len(left) > 0 {
		t.Errorf("%v was left, %v", left, err)
	}
}
