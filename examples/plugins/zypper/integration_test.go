//go:build integration

package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// TestMain runs the tests as the host runs a plugin.
func TestMain(m *testing.M) {
	os.Exit(sdktest.RunContained(m, sdktest.Containment{Prepare: "TestTheRepositoriesAreMade", Writable: []string{cacheRoot()}}))
}

func cacheRoot() string {
	if directory := os.Getenv("NSPAWN_BUILD_TEST_CACHE"); directory != "" {
		return directory
	}
	return "/var/cache/nspawn-build-test"
}

func TestTheRepositoriesAreMade(t *testing.T) {
	good := testrepo.OpenSUSE(t)
	for _, flaw := range []testrepo.Flaw{testrepo.WrongKey, testrepo.TamperedDatabase, testrepo.TamperedPackage, testrepo.StaleDatabase} {
		good.Flawed(t, flaw)
	}
}

// request is one for the directories of this test and a repository.
func request(t *testing.T, from *testrepo.Repo) sdk.Request {
	t.Helper()
	sdktest.NeedTools(t, "zypper", "rpm")
	base := filepath.Join(sdktest.Scratch(), strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()))
	req := sdk.Request{
		JobID: t.Name(), Distro: "opensuse-tumbleweed", Mirrors: []string{from.Mirror()}, Keyring: from.Keyring,
		Target: filepath.Join(base, "tree"), WorkDirectory: filepath.Join(base, "work"), CacheDirectory: filepath.Join(base, "cache"),
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
	facts, err := sdktest.Start(t, plugin{sdk.ThisHost()}).Bootstrap(context.Background(), req, &recorder)
	if err != nil || testing.Verbose() {
		t.Log(strings.Join(recorder.Lines(), "\n"))
	}
	if err := target.NoMounts(req.Target); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob("/tmp/zypper-*"); err != nil || len(left) > 0 {
		t.Errorf("%v was left, %v", left, err)
	}
	return facts, &recorder, err
}

func TestAMachineIsMade(t *testing.T) {
	repository := testrepo.OpenSUSE(t)
	req := request(t, repository)
	if repository.Dir != "" { // so that there is something to cache
		server := httptest.NewServer(http.FileServer(http.Dir(repository.Dir)))
		defer server.Close()
		req.Mirrors = []string{server.URL + "/tumbleweed/repo/oss"}
	}
	req.Packages = []string{testrepo.ExtraPackage}
	facts, recorder, err := bootstrap(t, req)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if want := []string{"index", "download", "install", "tidy"}; !slices.Equal(recorder.Phases(), want) || len(recorder.Warnings()) > 0 {
		t.Errorf("the phases are %q, the warnings %q", recorder.Phases(), recorder.Warnings())
	}
	counted := map[string]bool{}
	for _, e := range recorder.Events() {
		counted[e.Progress.Item] = true
	}
	if len(counted) < len(facts.Packages) {
		t.Errorf("progress named %d packages of %d", len(counted), len(facts.Packages))
	}
	kept, err := filepath.Glob(filepath.Join(req.CacheDirectory, "sha256", "*"))
	if err != nil || len(kept) != len(facts.Packages) {
		t.Errorf("the cache has %d packages of %d, %v", len(kept), len(facts.Packages), err)
	}
	checkTree(t, req, facts)
	state, err := sdktest.Start(t, plugin{sdk.ThisHost()}).State(context.Background(), req)
	if err != nil || !strings.HasPrefix(state.Engine, "zypper 1.") || !strings.HasPrefix(state.Repository["mirror-1"], "sha256:") {
		t.Errorf("the state is %+v, %v", state, err)
	}
}

// checkTree checks what the tree has to be, by other means than the plugin's.
func checkTree(t *testing.T, req sdk.Request, facts sdk.Facts) {
	t.Helper()
	out, err := exec.Command("chroot", req.Target, "rpm", "-qa", "--qf", "%{NAME}\n").CombinedOutput()
	listed := string(out)
	if err != nil || strings.Count(listed, "\n")-strings.Count(listed, "gpg-pubkey\n") != len(facts.Packages) || !strings.Contains(listed, "\n"+testrepo.ExtraPackage+"\n") {
		t.Errorf("the tree's own rpm knows %q, %v; the facts have %d packages", listed, err, len(facts.Packages))
	}
	if facts.OSRelease["ID"] != "opensuse-tumbleweed" || facts.PackageManager != "zypper" ||
		!slices.Equal(facts.SSHUnits, []string{"sshd.service"}) || !slices.Equal(facts.NetworkUnits, []string{"systemd-networkd.service"}) ||
		!slices.Equal(facts.ResolverUnits, []string{"systemd-resolved.service"}) {
		t.Errorf("the facts are %+v", facts)
	}
	for _, pattern := range []string{
		"etc/hostname", "root/.rpmdb", "root/.gnupg", "etc/ssh/ssh_host_*", "var/lib/zypp/AnonymousUniqueId",
		"run/*", "tmp/*", "dev/*", "proc/*", "sys/*", "var/tmp/*", "var/cache/zypp/*", "var/log/zypp/*",
	} {
		if found, err := filepath.Glob(filepath.Join(req.Target, pattern)); err != nil || len(found) > 0 {
			t.Errorf("%v was left in the tree, %v", found, err)
		}
	}
}

// TestWhatNobodyTrustedHasSignedIsNotInstalled is the reason for the keyring. The
// repository with the wrong key offers that key to whoever takes any.
func TestWhatNobodyTrustedHasSignedIsNotInstalled(t *testing.T) {
	for _, flaw := range []testrepo.Flaw{testrepo.WrongKey, testrepo.TamperedDatabase, testrepo.TamperedPackage} {
		t.Run(flaw.String(), func(t *testing.T) {
			fails(t, request(t, testrepo.OpenSUSE(t).Flawed(t, flaw)), sdk.CodeVerification, "")
		})
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	t.Run("a mirror that lacks a package", func(t *testing.T) {
		fails(t, request(t, testrepo.OpenSUSE(t).Flawed(t, testrepo.StaleDatabase)), sdk.CodeMirror, "basesystem")
	})
	t.Run("a package that there is not", func(t *testing.T) {
		req := request(t, testrepo.OpenSUSE(t))
		req.Packages = []string{"no-such-package"}
		fails(t, req, sdk.CodeInvalidRequest, "no-such-package")
	})
	t.Run("a mirror that is not there", func(t *testing.T) {
		req := request(t, testrepo.OpenSUSE(t))
		req.Mirrors = []string{"http://127.0.0.1:9/oss"}
		fails(t, req, sdk.CodeMirror, "reached")
	})
	t.Run("a mirror with nothing", func(t *testing.T) {
		req := request(t, testrepo.OpenSUSE(t))
		req.Mirrors = []string{"file://" + t.TempDir()}
		fails(t, req, sdk.CodeMirror, "lacks")
	})
}

func fails(t *testing.T, req sdk.Request, code sdk.Code, says string) {
	t.Helper()
	_, _, err := bootstrap(t, req)
	var failure *sdk.Failure
	if !errors.As(err, &failure) || failure.Code != code || failure.Hint == "" || !strings.Contains(failure.Message, says) {
		t.Errorf("it ended with %+v, want the code %d and %q", err, code, says)
	}
}
