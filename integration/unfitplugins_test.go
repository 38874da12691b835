//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestAPluginThatIsNotRunEndsCreateWithTheReasonAndAHint spoils the one plugin of a
// distro in each way that keeps a file from being run.
func TestAPluginThatIsNotRunEndsCreateWithTheReasonAndAHint(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	const file, lock = pluginsDirectory + "/nspawn-build-plugin-fixture", pluginsDirectory + "/plugins.lock"
	h.MustRun(t, "sh", "-ec", "cp -p "+file+" /root/well && cp -p "+lock+" /root/well.lock")
	before := h.Snapshot(t)
	for _, c := range []struct{ spoil, says, hint string }{
		{"echo more >>" + file, "it is not the file that was installed", "find out who changed it"},
		{"chmod 777 " + file, "can be written by others than its owner (mode 0777)", "keep them where only root can write"},
		{"chmod 777 " + pluginsDirectory, "can be written by others than its owner (mode 0777)", "keep them where only root can write"},
		// An ELF file for IBM Z, which the lock vouches for.
		{
			`printf '\026\000' | dd of=` + file + ` bs=1 seek=18 conv=notrunc status=none
			sed -i "s/$(sha256sum </root/well | cut -d' ' -f1)/$(sha256sum <` + file + ` | cut -d' ' -f1)/" ` + lock,
			"it is built for s390", "install a plugin that is built for this machine",
		},
	} {
		h.MustRun(t, "sh", "-ec", c.spoil)
		r := want(t, exitHost, h.Run(t, fixture("box", "--no-boot")...))
		says(t, r, c.says, "hint: ", c.hint)
		if strings.Contains(r.Stderr, "no plugin makes it") {
			t.Errorf("it is said that there is none: %s", r)
		}
		h.MustRun(t, "sh", "-ec", "chmod 755 "+pluginsDirectory+" && cp -p /root/well "+file+" && cp -p /root/well.lock "+lock)
	}
	nothingLeft(t, h, before)
	create(t, h, fixture("box", "--no-boot")...)
	destroy(t, h, "box")
}
