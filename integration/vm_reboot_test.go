//go:build vm

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestAnEnabledMachineSurvivesThatTheHostReboots reboots a host with a kernel of
// its own: one machine is enabled, the other is not.
func TestAnEnabledMachineSurvivesThatTheHostReboots(t *testing.T) {
	r := testhost.RunVM(t, testhost.VM{Timeout: 20 * time.Minute, Reboots: true, Script: `
set -u
everything() { find /etc /var/lib/nspawn-build /var/lib/machines /root -not -name .ssh -not -name before 2>/dev/null | sort; }
if ! test -e /root/before; then
	ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
	everything >/root/before
	nspawn-build --distro fixture box --dns host --timeout 10m --enable --memory-max 300M || exit
	nspawn-build --distro fixture other --dns host --no-boot || exit
	systemctl --no-block reboot
	exec sleep infinity
fi
nspawn-build start box --timeout 10m || exit
for try in $(seq 120); do
	hostname=$(ssh -o BatchMode=yes root@192.168.200.200 hostname) && break
	sleep 1
done
echo "hostname=$hostname"
echo "memory.max=$(cat /sys/fs/cgroup/machine.slice/systemd-nspawn@box.service/memory.max)"
nspawn-build list
nspawn-build destroy --all || exit
everything | diff /root/before - | sed -n 's/^[<>]/left:/p'
`})
	if r.Exit != 0 {
		t.Fatalf("the script failed: %s", r)
	}
	for _, want := range []string{
		"box runs already\n", "hostname=box\n", "memory.max=314572800\n", "other  stopped", "box is destroyed\n", "other is destroyed\n",
	} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("%q is missing: %s", want, r)
		}
	}
	if strings.Contains(r.Stdout, "left:") {
		t.Errorf("something is left: %s", r)
	}
}
