//go:build integration

package integration

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// built is what image prints with --output json.
type built struct {
	Name, Distro, Release, Digest string
	Artifacts                     []struct{ Format, Path, SHA256 string }
	Manifest, SBOM, Sums, Lock    string
	Log                           string
	Stages                        []struct{ Name string }
	Packages                      int
	Error                         *struct {
		Code          int
		Message, Hint string
	}
}

// imageLine is the command line that builds an image of the fixture.
func imageLine(name, out string, more ...string) []string {
	return append([]string{"nspawn-build", "image", "--distro", "fixture", "-o", out, name}, more...)
}

func build(t *testing.T, h *testhost.Host, exit int, args ...string) built {
	t.Helper()
	r := want(t, exit, h.RunCommand(t, testhost.Command{Args: append(args, "--output", "json"), Timeout: 20 * time.Minute}))
	var b built
	if err := json.Unmarshal([]byte(r.Stdout), &b); err != nil {
		t.Fatalf("image did not print JSON: %v: %s", err, r)
	}
	return b
}

func TestAnImageIsNobodysAndSaysWhatItIsOf(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := installFixture(t, kind.start(t, testhost.Options{}))
			prepareSources(t, h)
			before := h.Calm(t)
			b := build(t, h, exitDone, append(imageLine("base", "/srv/out/", "--format", "directory", "--format", "tar.zst", "--source-date-epoch", "1700000000"),
				"--copy", "/srv/app:/opt/app", "--script", "/srv/setup.sh", "--hook", "after:network:echo after-network >>/var/lib/order")...)
			tree := "/srv/out/base"
			if len(b.Artifacts) != 2 || b.Artifacts[0].Path != tree || b.Artifacts[1].Path != "/srv/out/base.tar.zst" {
				t.Fatalf("%+v", b)
			}
			t.Run("it has no identity and lets nobody in", func(t *testing.T) {
				if id := h.ReadFile(t, tree+"/etc/machine-id"); id != "uninitialized\n" {
					t.Errorf("its id is %q", id)
				}
				for _, path := range []string{"/etc/hostname", "/root/.ssh/authorized_keys", "/etc/passwd-", "/var/lib/dbus/machine-id", "/etc/ssh/ssh_host_ed25519_key"} {
					if h.Exists(t, tree+path) {
						t.Errorf("%s is there", path)
					}
				}
				h.MustRun(t, "grep", "-q", "^root:[*!]", tree+"/etc/shadow") // locked
				if left := h.MustRun(t, "find", tree+"/var/log", tree+"/tmp", tree+"/run", "-type", "f", "-size", "+0"); left != "" {
					t.Errorf("this is left of making it:\n%s", left)
				}
				if newer := h.MustRun(t, "find", tree, "-newermt", "@1700000000"); newer != "" {
					t.Errorf("this tells when it was made:\n%s", newer)
				}
			})
			t.Run("it was customised", func(t *testing.T) {
				if got := h.ReadFile(t, tree+"/var/lib/order"); got != "after-network\n" {
					t.Errorf("hooks wrote %q", got)
				}
				if log := h.ReadFile(t, b.Log); !strings.Contains(log, "hello from a script") {
					t.Errorf("the log is %q", log)
				}
			})
			t.Run("what is beside it is right", func(t *testing.T) {
				h.MustRun(t, "sh", "-c", "cd /srv/out && sha256sum --check base.SHA256SUMS && sha256sum --check base.tar.zst.sha256 && test ! -e base.sha256")
				var m struct {
					Digest, Distro string
					Packages       []any
					Spec           struct{ Directory string }
				}
				text := h.ReadFile(t, b.Manifest)
				if err := json.Unmarshal([]byte(text), &m); err != nil || m.Digest != b.Digest || len(m.Packages) != b.Packages || b.Packages < 50 {
					t.Errorf("the manifest says %.300s: %v", text, err)
				}
				if strings.Contains(text, "/srv/") {
					t.Error("the manifest says where it was made")
				}
				if sbom := h.ReadFile(t, b.SBOM); !strings.Contains(sbom, `"pkg:deb/debian/bash@`) {
					t.Errorf("the SBOM is %.300s", sbom)
				}
				validSBOM(t, h, b)
			})
			t.Run("nothing is overwritten", func(t *testing.T) {
				b := build(t, h, exitExists, imageLine("base", "/srv/out/", "--format", "tar.zst")...)
				if b.Error == nil || b.Error.Code != exitExists || b.Error.Hint == "" {
					t.Errorf("%+v", b.Error)
				}
				sum := h.ReadFile(t, "/srv/out/base.SHA256SUMS")
				again := build(t, h, exitDone, imageLine("base", "/srv/out/", "--format", "tar.zst", "--force", "--source-date-epoch", "1700000000")...)
				if h.ReadFile(t, again.Sums) == sum {
					t.Error("--force replaced nothing")
				}
			})
			t.Run("another image is made of it", func(t *testing.T) {
				h.WriteFile(t, "/srv/more.sh", "echo more >/opt/more\n", "0644")
				child := build(t, h, exitDone, "nspawn-build", "image", "--base", "/srv/out/base.tar.zst", "--script", "/srv/more.sh", "-o", "/srv/child.tar", "child")
				if child.Distro != "fixture" || child.Packages < 50 {
					t.Errorf("%+v", child)
				}
				if got := h.MustRun(t, "tar", "-xOf", "/srv/child.tar", "./opt/more"); got != "more\n" {
					t.Errorf("the child has %q", got)
				}
			})
			h.MustRun(t, "sh", "-c", "rm -r /srv/out /srv/child* /srv/more.sh")
			nothingLeft(t, h, before)
		})
	}
}

func TestTheSameImageIsTheSameWhereverAndWheneverItIsMade(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	prepareSources(t, h)
	h.MustRun(t, "cp", "-r", "/srv", "/opt/elsewhere")
	first := build(t, h, exitDone, imageLine("x", "/srv/one/", "--format", "tar", "--format", "squashfs", "--copy", "/srv/app:/opt/app", "--script", "/srv/setup.sh", "--source-date-epoch", "1700000000")...)
	second := build(t, h, exitDone, imageLine("x", "/opt/two/", "--format", "tar", "--format", "squashfs", "--copy", "/opt/elsewhere/app:/opt/app", "--script", "/opt/elsewhere/setup.sh", "--source-date-epoch", "1700000000")...)
	if first.Digest != second.Digest || first.Artifacts[1].SHA256 != second.Artifacts[1].SHA256 {
		t.Errorf("%+v\n%+v", first, second)
	}
	for _, suffix := range []string{".manifest.json", ".spdx.json", ".lock.json", ".SHA256SUMS"} {
		if h.ReadFile(t, "/srv/one/x"+suffix) != h.ReadFile(t, "/opt/two/x"+suffix) {
			t.Errorf("x%s differs", suffix)
		}
	}
	same := want(t, exitDone, h.Run(t, "nspawn-build", "diff", "/srv/one/x.tar", "/opt/two/x.tar"))
	if !strings.Contains(same.Stdout, "the images are the same") {
		t.Errorf("%s", same)
	}
	h.WriteFile(t, "/srv/motd2", "other\n", "0600")
	build(t, h, exitDone, "nspawn-build", "image", "--base", "/srv/one/x.tar", "--copy", "/srv/motd2:/etc/motd", "--copy", "/srv/motd2:/etc/motd2", "-o", "/srv/y.tar.zst", "y")
	r := want(t, exitExists, h.Run(t, "nspawn-build", "diff", "/srv/one/x.tar", "/srv/y.tar.zst", "--output", "json"))
	var c struct {
		Same     bool
		Packages []any
		Files    []struct {
			Path string
			What []string
		}
	}
	if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	found := map[string]string{}
	for _, f := range c.Files {
		found[f.Path] = strings.Join(f.What, " ")
	}
	if c.Same || len(c.Packages) != 0 || found["/etc/motd2"] != "added" || found["/etc/motd"] != "mode size content" || len(found) != 2 {
		t.Errorf("%v %v", c.Packages, found)
	}
}

// What is imported boots, and has host keys from then on.
func TestAnImageBootsAndMakesItsOwnHostKeys(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	build(t, h, exitDone, imageLine("x", "/srv/x.tar.gz")...)
	h.MustRun(t, "machinectl", "import-tar", "/srv/x.tar.gz", "imported")
	h.MustRun(t, "machinectl", "start", "imported")
	defer h.Run(t, "machinectl", "terminate", "imported")
	h.Eventually(t, 2*time.Minute, "systemctl", "--machine=imported", "is-active", "multi-user.target")
	h.MustRun(t, "sh", "-c", "ls /var/lib/machines/imported/etc/ssh/ssh_host_ed25519_key")
	if failed := h.MustRun(t, "systemctl", "--machine=imported", "list-units", "--failed", "--no-legend"); strings.TrimSpace(failed) != "" {
		t.Errorf("these failed:\n%s", failed)
	}
	id := h.ReadFile(t, "/var/lib/machines/imported/etc/machine-id")
	if len(strings.TrimSpace(id)) != 32 {
		t.Errorf("its id is %q", id)
	}
}

func TestAnImageThatCannotBeMadeLeavesItsLogAlone(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.WriteFile(t, "/srv/bad.sh", "#!/bin/sh\necho the last words\nexit 7\n", "0755")
	h.WriteFile(t, "/srv/slow.sh", "#!/bin/sh\necho asleep\nsleep 1000 & sleep 1000\n", "0755")
	h.MustRun(t, "mkdir", "/srv/out")
	before := h.Calm(t)
	b := build(t, h, exitConfigure, imageLine("x", "/srv/out/", "--format", "tar", "--script", "/srv/bad.sh")...)
	if b.Error == nil || b.Error.Code != exitConfigure || !strings.Contains(b.Error.Hint, "/srv/out/x.log") {
		t.Errorf("%+v", b.Error)
	}
	if log := h.ReadFile(t, "/srv/out/x.log"); !strings.Contains(log, "the last words") {
		t.Errorf("the log is %q", log)
	}
	h.MustRun(t, "rm", "/srv/out/x.log")
	nothingLeft(t, h, before)
	for name, end := range map[string]struct {
		signal syscall.Signal
		exit   int
	}{"an interrupt": {syscall.SIGINT, exitInterrupted}, "a kill": {syscall.SIGKILL, -1}} {
		t.Run(name, func(t *testing.T) {
			p := h.Start(t, testhost.Command{Args: imageLine("x", "/srv/out/", "--format", "tar", "--script", "/srv/slow.sh", "--log-level", "debug", "--log-format", "json")})
			awaitText(t, p, "asleep")
			if err := p.Signal(end.signal); err != nil {
				t.Fatal(err)
			}
			r := p.Wait(t, 30*time.Second)
			if end.signal == syscall.SIGINT {
				want(t, end.exit, r)
			} else {
				want(t, exitDone, h.Run(t, imageLine("x", "/srv/out/", "--format", "tar")...))
				h.MustRun(t, "sh", "-c", "rm /srv/out/x.[a-zS]*")
			}
			h.MustRun(t, "sh", "-c", "rm -f /srv/out/x.log")
			h.Eventually(t, 10*time.Second, "sh", "-c", "! pgrep -x sleep")
			nothingLeft(t, h, before)
			if left := h.MustRun(t, "ls", "-A", "/srv/out"); left != "" {
				t.Errorf("this is left: %s", left)
			}
		})
	}
	for text, args := range map[string][]string{
		"no format was given":              imageLine("x", "/srv/out/"),
		"is not a format":                  imageLine("x", "/srv/out/", "--format", "zip"),
		"is one file, and there are":       imageLine("x", "/srv/none/x", "--format", "tar"),
		"is at a stage that an image":      imageLine("x", "/srv/out/", "--format", "tar", "--hook", "before:boot:true"),
		"is not possible with the plugin":  imageLine("x", "/srv/out/", "--format", "tar", "--snapshot", "2026-11-01"),
		"is not a time that has been":      imageLine("x", "/srv/out/", "--format", "tar", "--source-date-epoch", "7"),
		"is no image with a manifest besi": {"nspawn-build", "image", "--base", "/srv/out", "-o", "/srv/out/", "--format", "tar", "x"},
	} {
		if text == "is one file, and there are" {
			text = "is no directory"
		}
		if r := want(t, exitUsage, h.Run(t, args...)); !strings.Contains(r.Stderr, text) || !strings.Contains(r.Stderr, "hint:") {
			t.Errorf("%q is not said: %s", text, r)
		}
	}
}

// A script may use the distribution's own package manager, shut in as it is,
// and what it installs is told.
func TestADebianImageIsBootstrappedAndAScriptInstallsAPackage(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, testhost.Options{Suite: "trixie"}))
	h.WriteFile(t, "/srv/install.sh", "#!/bin/sh -eu\nexport DEBIAN_FRONTEND=noninteractive\napt-get update -q\napt-get install -q -y hello iputils-ping\ngetcap /usr/bin/ping || true\n", "0755")
	b := build(t, h, exitDone, "nspawn-build", "image", "--distro", "debian", "--release", "trixie", "--source-date-epoch", "1700000000", "-o", "/srv/deb.tar.zst", "deb")
	more := build(t, h, exitDone, "nspawn-build", "image", "--base", "/srv/deb.tar.zst", "--script", "/srv/install.sh", "--script-network", "-o", "/srv/more.tar.zst", "more")
	if b.Packages < 50 || more.Packages <= b.Packages {
		t.Errorf("%d packages, and with more of them %d", b.Packages, more.Packages)
	}
	r := want(t, exitExists, h.Run(t, "nspawn-build", "diff", "/srv/deb.tar.zst", "/srv/more.tar.zst"))
	if !strings.Contains(r.Stdout, "package + hello ") || !strings.Contains(r.Stdout, "file + /usr/bin/hello") {
		t.Errorf("%s", r)
	}
	if sbom := h.ReadFile(t, more.SBOM); !strings.Contains(sbom, `"pkg:deb/debian/hello@`) {
		t.Error("the SBOM lacks what the script installed")
	}
	validSBOM(t, h, more)
}
