//go:build integration

package integration

import (
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestRsyncCopiesBySSHOfThisProgram has it in place of ssh.
func TestRsyncCopiesBySSHOfThisProgram(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	h.MustRun(t, "sh", "-ec", "apt-get -q update; apt-get -qy --no-install-recommends install rsync")
	create(t, h, fixture("box")...)
	// The same release is in the machine, which reaches no mirror.
	h.MustRun(t, "sh", "-ec", `for f in /usr/bin/rsync $(ldd /usr/bin/rsync | sed -n 's/.*=> \([^ ]*\).*/\1/p'); do
		nspawn-build exec box test -e "$f" || nspawn-build copy-to box "$(readlink -f "$f")" "$f"; done
		mkdir -p /root/tree/sub; head -c 3000000 /dev/urandom > /root/tree/sub/bytes; ln -s sub/bytes /root/tree/link
		rsync -a -e "nspawn-build ssh" /root/tree box:/srv/
		rsync -a -e "nspawn-build ssh" box:/srv/tree/ /root/back/
		diff -r --no-dereference /root/tree /root/back`)
}
