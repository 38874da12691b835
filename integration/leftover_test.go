//go:build integration

package integration

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestWhatAKilledVerifyUnpackedGoesWithTheNext: an image that is no file system
// is unpacked to be booted, and nobody is left to remove that.
func TestWhatAKilledVerifyUnpackedGoesWithTheNext(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	build(t, h, exitDone, imageLine("box", "/srv/box.tar.zst")...)
	// Anybody can give theirs such a name.
	h.MustRun(t, "sh", "-euc", `cd /var/tmp; p=nspawn-build-verify-
		mkdir /srv/precious; echo mine >/srv/precious/file; ln -s /srv/precious ${p}link
		mkdir -m 700 ${p}other; echo mine >${p}other/file; chown -R 1000:1000 ${p}other
		mkdir -m 755 ${p}open; echo mine >${p}open/file
		mkdir -m 700 ${p}mount; mount --bind /srv/precious ${p}mount; chmod 700 /srv/precious`)
	before := h.Calm(t)
	unpacked := func() int {
		t.Helper()
		return len(strings.Fields(h.MustRun(t, "sh", "-c", "ls -d /var/tmp/nspawn-build-verify-*/root 2>/dev/null || true")))
	}
	p := h.Start(t, testhost.Command{Args: []string{"nspawn-build", "verify", "--check", "sleep 1000", "/srv/box.tar.zst", "--log-format", "json"}})
	awaitText(t, p, "sshd")
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.Wait(t, 30*time.Second)
	if unpacked() != 1 {
		t.Fatal("a verify that was killed leaves nothing: there is nothing to be swept")
	}
	want(t, exitDone, h.Run(t, "nspawn-build", "verify", "/srv/box.tar.zst"))
	if unpacked() != 0 {
		t.Error("it is still there")
	}
	nothingLeft(t, h, before)
	h.MustRun(t, "sh", "-euc", `cd /var/tmp; umount nspawn-build-verify-mount
		for f in link other open; do grep -q mine nspawn-build-verify-$f/file; done
		grep -q mine /srv/precious/file; rm -r nspawn-build-verify-* /srv/precious`)
}
