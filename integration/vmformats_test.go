//go:build vm

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestDiskImagesBootFromALoopDevice has the command make images and boots them where
// the kernel is the test's own: systemd-nspawn needs devices of partitions, which
// a host that is a container does not get.
func TestDiskImagesBootFromALoopDevice(t *testing.T) {
	maker := testhost.StartDirect(t, testhost.Options{})
	maker.InstallProduct(t)
	maker.InstallFixture(t)
	made := inFormats(t, maker, []image.Format{image.Squashfs, image.Erofs, image.Raw})
	files := map[string]string{}
	for f, a := range made {
		files["/var/tmp/system."+string(f)] = a.Path
	}
	r := testhost.RunVM(t, testhost.VM{Timeout: 25 * time.Minute, Files: files, Script: `
set -u
wait_for() { for i in $(seq 150); do state=$(systemctl --machine "$1" is-system-running 2>/dev/null) && break; sleep 2; done; echo "$1=$state"; }
boot() { # NAME IMAGE OPTIONS...
	name=$1 image=$2; shift 2
	systemd-run --quiet --unit "boot-$name" systemd-nspawn --quiet --boot --keep-unit --machine "$name" --image "$image" "$@"
	wait_for "$name"
}
over() { machinectl poweroff "$1"; for i in $(seq 100); do machinectl show "$1" >/dev/null 2>&1 || break; sleep 1; done; }
boot squashfs /var/tmp/system.squashfs --volatile=overlay; over squashfs
boot erofs /var/tmp/system.erofs --volatile=overlay; over erofs
boot raw /var/tmp/system.raw
echo "writable=$(systemd-run --quiet --machine raw --pipe --wait sh -c 'head -c 300M /dev/zero >/var/filled && echo kept >/etc/kept && sync && echo yes')"
over raw
boot again /var/tmp/system.raw
echo "kept=$(systemd-run --quiet --machine again --pipe --wait cat /etc/kept)"
over again
machinectl --quiet import-raw /var/tmp/system.raw imported
machinectl start imported
wait_for imported
over imported
for name in squashfs erofs raw again imported; do journalctl --no-pager -n 20 -u boot-$name -u systemd-nspawn@$name; done >/tmp/journal 2>&1
tail -n 100 /tmp/journal
`})
	for _, want := range []string{
		"squashfs=running\n", "erofs=running\n", "raw=running\n", "writable=yes\n", "again=running\n", "kept=kept\n", "imported=running\n",
	} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("%q is missing", strings.TrimSpace(want))
		}
	}
	if t.Failed() {
		t.Log(r)
		return
	}
	t.Logf("the virtual machine printed:\n%s", r.Stdout)
}
