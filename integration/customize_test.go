//go:build integration

package integration

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// prober is a script that says what it can see and do.
const prober = `#!/bin/bash -eu
echo "hello from a script"
echo "net: $(ls /sys/class/net | tr '\n' ' ')"
echo "uid: $(id -u)"
mknod /root/disk b 8 0 2>/dev/null && echo "made a device"
mount -t tmpfs none /mnt 2>/dev/null && echo "mounted"
test -e /var/lib/secret-of-the-host && echo "sees the host"
test -z "${SECRET-}" || echo "sees the environment"
read -r line && echo "read input" || echo "no input"
echo once >>/var/lib/made-by-script
chown 1234:1234 /opt/app/data
`

func customized(name string, more ...string) []string {
	return append([]string{
		"nspawn-build", "--distro", "fixture", "--copy", "/srv/app:/opt/app", "--copy", "/srv/motd:/etc/", "--script", "/srv/setup.sh",
		"--hook", "after:bootstrap:echo after-bootstrap >>/var/lib/order", "--hook", "before:password:echo before-password >>/var/lib/order",
		"--hook", "after:network:echo after-network >>/var/lib/order",
	}, append(more, name)...)
}

func prepareSources(t *testing.T, h *testhost.Host) {
	t.Helper()
	h.WriteFile(t, "/var/lib/secret-of-the-host", "x", "0600")
	h.WriteFile(t, "/srv/setup.sh", prober, "0644")
	h.WriteFile(t, "/srv/motd", "welcome\n", "0640")
	h.WriteFile(t, "/srv/app/data", "data\n", "0604")
	h.WriteFile(t, "/srv/app/bin/run", "#!/bin/sh\n", "0755")
	h.MustRun(t, "ln", "-s", "/etc/shadow", "/srv/app/link")
	h.MustRun(t, "chown", "-R", "1000:1000", "/srv/app")
}

func TestATreeIsCustomisedOnceAndCannotReachTheHost(t *testing.T) {
	t.Parallel()
	for _, on := range []struct {
		name  string
		start func(testing.TB, testhost.Options) *testhost.Host
	}{{"systemd", testhost.Start}, {"direct", testhost.StartDirect}} {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			h := installFixture(t, on.start(t, testhost.Options{}))
			prepareSources(t, h)
			before := h.Calm(t)
			m := create(t, h, customized("box", "--no-boot")...)
			for path, want := range map[string]string{
				"/etc/motd": "welcome\n", "/var/lib/made-by-script": "once\n", "/opt/app/data": "data\n",
				"/var/lib/order": "after-bootstrap\nbefore-password\nafter-network\n",
			} {
				if got := h.ReadFile(t, m.Tree+path); got != want {
					t.Errorf("%s is %q, want %q", path, got, want)
				}
			}
			for path, want := range map[string]string{
				"/etc/motd": "0:0 640", "/opt/app": "0:0 755", "/opt/app/bin/run": "0:0 755", "/opt/app/data": "1234:1234 604", "/opt/app/link": "0:0 777",
			} {
				if got := strings.TrimSpace(h.MustRun(t, "stat", "--format=%u:%g %a", m.Tree+path)); got != want {
					t.Errorf("%s is %s, want %s", path, got, want)
				}
			}
			log := h.ReadFile(t, "/var/log/nspawn-build/box.customize.log")
			for _, line := range []string{"hello from a script", "net: lo \n", "uid: 0", "no input"} {
				if !strings.Contains(log, line) {
					t.Errorf("the log lacks %q:\n%s", line, log)
				}
			}
			for _, line := range []string{"made a device", "mounted", "sees the"} {
				if strings.Contains(log, line) {
					t.Errorf("the script %s:\n%s", line, log)
				}
			}
			if h.Exists(t, m.Tree+"/run/nspawn-build-script") {
				t.Error("the script is left in the tree")
			}
			if again := create(t, h, customized("box", "--no-boot")...); again.Changed {
				t.Error("it was made again")
			}
			h.WriteFile(t, "/srv/setup.sh", prober+"echo more\n", "0644")
			r := want(t, exitExists, h.Run(t, customized("box", "--no-boot")...))
			if !strings.Contains(r.Stderr, "differs in customize.scripts./srv/setup.sh: sha256 ") {
				t.Errorf("it does not say what differs: %s", r)
			}
			h.WriteFile(t, "/srv/setup.sh", prober, "0644")
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}

func TestAScriptThatFailsIsShownAndUndone(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	h.WriteFile(t, "/srv/bad.sh", "#!/bin/sh\necho the last words\nsleep 1000 &\nexit 7\n", "0755")
	before := h.Calm(t, "/var/log/nspawn-build")
	r := want(t, exitConfigure, h.Run(t, fixture("box", "--script", "/srv/bad.sh")...))
	for _, text := range []string{"it ended with status 7", "the last words", "/var/log/nspawn-build/box.customize.log"} {
		if !strings.Contains(r.Stderr, text) {
			t.Errorf("%q is not said: %s", text, r)
		}
	}
	if log := h.ReadFile(t, "/var/log/nspawn-build/box.customize.log"); !strings.Contains(log, "the last words") {
		t.Errorf("the log is %q", log)
	}
	if left := testhost.Diff(before, h.Calm(t, "/var/log/nspawn-build")); left != "" {
		t.Errorf("it left this behind:\n%s", left)
	}
	want(t, exitUsage, h.Run(t, fixture("box", "--script", "/srv/none.sh")...))
	r = want(t, exitUsage, h.Run(t, fixture("box", "--snapshot", "2026-11-01")...))
	if !strings.Contains(r.Stderr, "is not possible with the plugin fixture") || !strings.Contains(r.Stderr, "hint: leave --snapshot out") {
		t.Errorf("%s", r)
	}
}

func TestARunThatWasKilledInAScriptIsFinishedOrDestroyed(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.WriteFile(t, "/srv/slow.sh", "#!/bin/sh\ntest -e /root/quick || { touch /root/quick; echo asleep >&2; sleep 1000; }\n", "0755")
	before := h.Calm(t)
	args := fixture("box", "--script", "/srv/slow.sh", "--hook", "after:customize:echo hook >>/root/hooks", "--no-boot")
	for _, then := range []string{"resume", "destroy"} {
		p := h.Start(t, testhost.Command{Args: append(args[:len(args):len(args)], "--log-level", "debug", "--log-format", "json")})
		awaitText(t, p, "asleep")
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		p.Wait(t, 30*time.Second)
		h.Eventually(t, 10*time.Second, "sh", "-c", "! pgrep -x sleep") // all of it ends with the program
		if then == "resume" {
			m := create(t, h, args...)
			if got := h.ReadFile(t, m.Tree+"/root/hooks"); got != "hook\n" {
				t.Errorf("hooks wrote %q", got)
			}
		}
		destroy(t, h, "box")
		nothingLeft(t, h, before)
	}
}
