//go:build integration

package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

const pluginsOnHost = "/usr/local/lib/nspawn-build/plugins/"

// others are the packages of a Debian that the plugins of examples/plugins need.
var others = []string{"zypper", "rpm", "zstd", "python3", "python3-grpcio", "python3-protobuf", "python3-cryptography"}

// installExamples installs the plugins of examples/plugins on a host: one is
// built in its own module, as a stranger builds it, the other is a script.
func installExamples(t *testing.T, h *testhost.Host) {
	t.Helper()
	zypper := filepath.Join(t.TempDir(), sdk.BinaryPrefix+"zypper")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", zypper, ".")
	build.Dir = "../examples/plugins/zypper"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the zypper plugin: %v\n%s", err, out)
	}
	for _, file := range []string{zypper, "../examples/plugins/tarball-python/" + sdk.BinaryPrefix + "tarball"} {
		on := pluginsOnHost + filepath.Base(file)
		h.CopyIn(t, file, on)
		h.MustRun(t, "chmod", "755", on)
	}
	h.MustRun(t, "nspawn-build", "plugin-lock", pluginsOnHost)
}

// TestPluginsOfOthersMakeMachines is about plugins that know nothing of core: one
// in Go against the public SDK, one in Python against nothing but the protocol.
func TestPluginsOfOthersMakeMachines(t *testing.T) {
	t.Parallel()
	repository := testrepo.OpenSUSE(t)
	if repository.Dir == "" {
		t.Skip("the machine is made from the tests' own repository, and this is a real mirror")
	}
	h := install(t, testhost.Start(t, testhost.Options{
		Packages: others, Sites: map[string]http.Handler{"opensuse.test": http.FileServer(http.Dir(repository.Dir))},
	}))
	installExamples(t, h)
	const key = keyOnHost + "opensuse.asc"
	h.CopyIn(t, repository.Keyring, key)
	tarball, err := testhost.MachineTarball(t.Context(), "trixie")
	if err != nil {
		t.Fatal(err)
	}
	const onHost = "/srv/machine.tar.zst"
	h.CopyIn(t, tarball, onHost)
	digest, err := sdk.FileSHA256(tarball)
	if err != nil {
		t.Fatal(err)
	}
	before := h.Snapshot(t)
	openSUSE := []string{"nspawn-build", "--distro", "opensuse-tumbleweed", "--mirror", "http://opensuse.test/tumbleweed/repo/oss", "--keyring", key}
	fromTarball := []string{"nspawn-build", "--distro", "tarball", "--mirror", "file://" + onHost, "--option", "sha256=" + digest}

	t.Run("both pass the check", func(t *testing.T) {
		for name, args := range map[string][]string{"zypper": openSUSE, "tarball": fromTarball} {
			r := h.Run(t, append(append([]string{"nspawn-build", "plugin", "check", "--boot"}, args[1:]...), pluginsOnHost+sdk.BinaryPrefix+name)...)
			if r.Exit != exitDone || !strings.Contains(r.Stdout, " rules kept, 0 broken, 0 skipped\n") {
				t.Errorf("%s: %s", name, r)
			}
		}
	})
	t.Run("openSUSE", func(t *testing.T) {
		m := create(t, h, append(openSUSE, "suse")...)
		checkMachine(t, h, m)
		if got := release(t, h, m); got != "opensuse-tumbleweed" {
			t.Errorf("it says that it is %q", got)
		}
		// By the key and the mirror that it was made with.
		install := "! command -v nano && zypper --non-interactive install nano >/dev/null && command -v nano"
		if r := ssh(t, h, "root@"+m.Address.String(), install); r.Exit != 0 {
			t.Errorf("a package cannot be installed in it: %s", r)
		}
		destroy(t, h, "suse")
	})
	t.Run("without a mirror it says what to pass", func(t *testing.T) {
		r := want(t, exitUsage, h.Run(t, "nspawn-build", "--distro", "opensuse-tumbleweed", "suse", "--keyring", key))
		if !strings.Contains(r.Stderr, "mirrors: ") || !strings.Contains(r.Stderr, "hint: name one") {
			t.Error(r)
		}
	})
	t.Run("a tarball", func(t *testing.T) {
		m := create(t, h, append(fromTarball, "tar")...)
		checkMachine(t, h, m)
		if got := release(t, h, m); got != "debian" {
			t.Errorf("it says that it is %q", got)
		}
		destroy(t, h, "tar")
	})
	t.Run("a tarball of another digest makes nothing", func(t *testing.T) {
		other := append(fromTarball[:len(fromTarball)-1:len(fromTarball)-1], "sha256="+strings.Repeat("0", 64), "tar")
		r := want(t, exitBootstrap, h.Run(t, other...))
		if !strings.Contains(r.Stderr, "the SHA-256 of the tarball is "+digest) || !strings.Contains(r.Stderr, "hint: ") {
			t.Error(r)
		}
	})
	nothingLeft(t, h, before)
}
