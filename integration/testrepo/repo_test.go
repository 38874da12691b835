//go:build integration

package testrepo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

func TestPacstrapInstallsAnArchThatBoots(t *testing.T) {
	r := Arch(t)
	tree, said, err := installArch(t, r, r.Mirror(), "Required", ArchPackages...)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, p := range ArchPackages {
		if !regexp.MustCompile(`(?m)^` + p + ` \S+-1$`).MatchString(said) {
			t.Errorf("pacman -Q does not list %s", p)
		}
	}
	looksRight(t, tree, "arch", "")
	boots(t, tree)
}

func TestDnfInstallsAFedoraThatBoots(t *testing.T) {
	r := Fedora(t)
	tree, said, err := installFedora(t, r, r.Mirror(), FedoraRelease, "1", FedoraPackages...)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	looksRight(t, tree, "fedora", FedoraRelease)
	for _, name := range []string{"usr/bin/dnf5", "usr/lib/sysimage/rpm", "etc/pki/rpm-gpg/" + fedoraKey + "-x86_64"} {
		if _, err := os.Stat(filepath.Join(tree, name)); err != nil {
			t.Error(err)
		}
	}
	boots(t, tree)
}

// looksRight checks what a tree says of itself, and that the hooks or
// scriptlets ran, which make the users.
func looksRight(t *testing.T, tree, id, release string) {
	t.Helper()
	namesItself(t, tree, id, release)
	users := lines(t, filepath.Join(tree, "etc/passwd"))
	for _, user := range []string{"root", "systemd-network", "systemd-resolve", "messagebus", "sshd", "nobody"} {
		if !slices.ContainsFunc(users, func(line string) bool { return strings.HasPrefix(line, user+":") }) {
			t.Errorf("there is no user %s in %q", user, users)
		}
	}
}

// namesItself checks the os-release of a tree; release may be empty.
func namesItself(t *testing.T, tree, id, release string) {
	t.Helper()
	osRelease := lines(t, filepath.Join(tree, "usr/lib/os-release"))
	if !slices.Contains(osRelease, "ID="+id) || release != "" && !slices.Contains(osRelease, "VERSION_ID="+release) {
		t.Errorf("os-release is %q", osRelease)
	}
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

func TestRepositoriesAreServedOverHTTP(t *testing.T) {
	t.Run("arch", func(t *testing.T) {
		r := Arch(t)
		// One has a colon in its file name, the other is in extra.
		if _, said, err := installArch(t, r, r.Serve(t), "Required", "gawk", ExtraPackage); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
	})
	t.Run("fedora", func(t *testing.T) {
		r := Fedora(t)
		if _, said, err := installFedora(t, r, r.Serve(t), FedoraRelease, "1", "gawk", ExtraPackage); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
	})
}

func TestARepositoryIsMadeOnce(t *testing.T) {
	for _, get := range []func(testing.TB) *Repo{Arch, Fedora, OpenSUSE} {
		first := get(t)
		before, err := os.Stat(first.Keyring)
		if err != nil {
			t.Fatal(err)
		}
		again := get(t)
		after, err := os.Stat(again.Keyring)
		if err != nil {
			t.Fatal(err)
		}
		if again.Dir != first.Dir || again.Fingerprint != first.Fingerprint || !os.SameFile(before, after) {
			t.Errorf("it was made again: %+v, before %+v", again, first)
		}
	}
}

func TestARealMirrorIsTakenAsItIs(t *testing.T) {
	const mirror = "https://mirror.example.org/$repo/os/$arch"
	t.Setenv("NSPAWN_BUILD_TEST_ARCH_MIRROR", mirror)
	r := Arch(t)
	if r.Mirror() != mirror || r.Serve(t) != mirror || r.Keyring != "" || r.Fingerprint != "" {
		t.Errorf("got %+v", r)
	}
	if reason := skipReason(t, func(t testing.TB) { r.Flawed(t, WrongKey) }); !strings.Contains(reason, "real mirror") {
		t.Errorf("a test with a flaw of it is skipped for %q", reason)
	}
}

// skipping is a test that is skipped in place of another.
type skipping struct {
	testing.TB
	reason string
}

func (s *skipping) Skipf(format string, args ...any) {
	s.reason = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// skipReason is why f skips its test, and empty when it does not.
func skipReason(t *testing.T, f func(testing.TB)) string {
	s := &skipping{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(s)
	}()
	<-done
	return s.reason
}

// boots boots a tree as a machine of a test host, and requires that all of its
// units come up, and sshd with them.
func boots(t *testing.T, tree string) {
	t.Helper()
	h := testhost.Start(t, testhost.Options{})
	if out, err := exec.Command("cp", "--archive", tree, h.Path("/var/lib/machines/box")).CombinedOutput(); err != nil {
		t.Fatalf("copy the tree to the host: %v: %s", err, out)
	}
	for _, unit := range []string{"sshd.service", "systemd-networkd.service", "systemd-resolved.service"} {
		h.MustRun(t, "systemctl", "--root=/var/lib/machines/box", "enable", unit)
	}
	nspawn := h.Start(t, testhost.Command{Args: []string{
		"systemd-nspawn", "--boot", "--machine=box", "--directory=/var/lib/machines/box", "--network-veth", "--private-users=pick",
	}})
	h.Eventually(t, 30*time.Second, "systemctl", "--machine=box", "is-active", "dbus.service")
	// With --wait it has been seen to wait for what had happened already.
	h.Eventually(t, 2*time.Minute, "sh", "-c", "case $(systemctl --machine=box is-system-running) in running|degraded) ;; *) exit 1 ;; esac")
	r := h.Run(t, "systemctl", "--machine=box", "is-system-running")
	if strings.TrimSpace(r.Stdout) != "running" {
		t.Errorf("the machine is %s\nfailed: %s\n%s", r, h.Run(t, "systemctl", "--machine=box", "--failed", "--no-legend", "--plain").Stdout,
			h.Run(t, "journalctl", "--directory=/var/lib/machines/box/var/log/journal", "--no-pager", "--priority=warning").Stdout)
	}
	for _, unit := range []string{"sshd.service", "systemd-networkd.service", "systemd-resolved.service", "systemd-logind.service"} {
		if r := h.Run(t, "systemctl", "--machine=box", "is-active", unit); r.Exit != 0 {
			t.Errorf("%s: %s", unit, r)
		}
	}
	// Left to the end of the test its nspawn would be killed, and the scope that
	// stays with the machine's processes can hold up the host's end until it
	// times out.
	h.MustRun(t, "machinectl", "poweroff", "box")
	if r := nspawn.Wait(t, time.Minute); r.Exit != 0 {
		t.Errorf("the machine did not power off: %s", r)
	}
}
