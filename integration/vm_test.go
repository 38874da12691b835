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
everything() { find /etc /var/lib/nspawn-build /var/lib/machines /root -not -name .ssh 2>/dev/null | sort; }
everything >/tmp/before
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
nspawn-build exec box sh -c 'head -c 600M /dev/zero | tail -c 600M | wc -c' >/tmp/greedy 2>&1
echo "greedy=$(tr -dc 0-9 </tmp/greedy)"
echo "killed=$(awk '$1 == "oom_kill" {print $2}' $group/memory.events)"
nspawn-build exec box perl -e 'for (1 .. 300) { my $p = fork; unless (defined $p) { print "refused\n"; exit } unless ($p) { sleep 600; exit } } print "forked\n"' >/tmp/fork 2>&1
echo "forks=$(cat /tmp/fork)"
nspawn-build destroy box || exit
everything | diff /tmp/before - | sed -n 's/^[<>]/left:/p'
`})
	if r.Exit != 0 {
		t.Fatalf("the script failed: %s", r)
	}
	for _, want := range []string{
		"memory.max=314572800\n", "cpu.max=150000 100000\n", "pids.max=150\n", "io.weight=default 50\n",
		"hostname=box\n", "state=running\n", "forks=refused\n", "box is destroyed\n",
	} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("%q is missing", strings.TrimSpace(want))
		}
	}
	if strings.Contains(r.Stdout, "left:") {
		t.Error("something is left of the machine")
	}
	if strings.Contains(r.Stdout, "killed=0\n") || strings.Contains(r.Stdout, "greedy=629145600\n") {
		t.Error("a command that took twice the memory was let live")
	}
	if t.Failed() {
		t.Log(r)
		return
	}
	t.Logf("the virtual machine printed:\n%s", r.Stdout)
}
