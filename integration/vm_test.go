//go:build vm

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestTheKernelHoldsWhatALimitSays runs on a kernel of its own with cgroup v2:
// there the limits of a machine are the kernel's, and not only on paper.
func TestTheKernelHoldsWhatALimitSays(t *testing.T) {
	r := testhost.RunVM(t, testhost.VM{Timeout: 15 * time.Minute, Script: `
set -u
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
nspawn-build --distro fixture box --dns host --timeout 10m \
	--memory-max 300M --cpu-quota 150% --tasks-max 150 --io-weight 50 || exit
group=/sys/fs/cgroup/machine.slice/systemd-nspawn@box.service
echo "memory.max=$(cat $group/memory.max)"
echo "cpu.max=$(cat $group/cpu.max)"
echo "pids.max=$(cat $group/pids.max)"
echo "io.weight=$(cat $group/io.weight)"
echo "hostname=$(ssh -o BatchMode=yes root@192.168.200.200 hostname)"
echo "state=$(nspawn-build exec box systemctl is-system-running)"
# A command that is run in the machine is under its limits too.
nspawn-build exec box python3 -c 1 2>/dev/null; echo "absent=$?"
nspawn-build exec box sh -c 'tail -c 600M /dev/zero | wc -c' >/tmp/greedy 2>&1; echo "greedy=$(cat /tmp/greedy | tr -dc 0-9)"
echo "killed=$(awk '/^oom_kill /{print $2}' $group/memory.events)"
nspawn-build exec box sh -c 'i=0; while [ $i -lt 300 ]; do sleep 30 & i=$((i+1)); done; wait' >/tmp/fork 2>&1 &
sleep 20
echo "forked=$(cat $group/pids.peak 2>/dev/null || cat $group/pids.current)"
kill $! 2>/dev/null
nspawn-build destroy box || exit
echo "left=$(find /etc /var/lib/nspawn-build /root/containers -name '*box*' 2>/dev/null | wc -l)"
`})
	if r.Exit != 0 {
		t.Fatalf("the script failed: %s", r)
	}
	for _, want := range []string{
		"memory.max=314572800\n", "cpu.max=150000 100000\n", "pids.max=150\n", "io.weight=default 50\n",
		"hostname=box\n", "state=running\n", "absent=127\n", "left=0\n",
	} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("%q is missing", strings.TrimSpace(want))
		}
	}
	if strings.Contains(r.Stdout, "killed=0\n") || strings.Contains(r.Stdout, "greedy=629145600\n") {
		t.Error("a command that took twice the memory was let live")
	}
	t.Logf("the virtual machine printed:\n%s", r.Stdout)
}
