//go:build vm

package integration

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// kernelOf are shell functions that show what the kernel has of a machine.
const kernelOf = `
everything() { find /etc /var/lib/nspawn-build /var/lib/machines /root -not -name .ssh 2>/dev/null | sort; }
set -u
test -e /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
disk=$(cat /sys/class/block/vda/dev)
show() { # WORD GROUP
	for f in memory.max memory.high cpu.max pids.max io.weight; do echo "$1 $f=$(cat $2/$f)"; done
	echo "$1 io.max=$(sed -n "s/^$disk //p" $2/io.max)"
}
# On a busy machine a login to an emulated one can take longer than its proof
# waits; the same command goes on then.
make() { # ARGUMENT...
	for try in 1 2 3; do nspawn-build --distro fixture --on-error keep --timeout 10m "$@" && return; done
	return 1
}
# What somebody else wrote to the kernel is named by doctor, and mended with --fix.
drift() { # GROUP
	echo max >$1/memory.max
	nspawn-build doctor box | sed -n 's/^ *error *limits\./drifted limits./p'
	nspawn-build doctor --fix box | sed -n 's/^mended *box: limits\./mended limits./p'
	echo "mended memory.max=$(cat $1/memory.max)"
	nspawn-build doctor box | sed -n 's/^ *error *limits\./still limits./p'
}
control() { find /etc/systemd/system.control /run/systemd/system.control 2>/dev/null | sed s/^/control:/; }
`

// bounded is what the kernel then shows, and unbounded when nothing is set.
var (
	bounded = []string{
		"memory.max=314572800", "memory.high=262144000", "cpu.max=50000 100000", "pids.max=150", "io.weight=default 50",
		"io.max=rbps=10485760 wbps=10485760 riops=max wiops=max",
	}
	unbounded = []string{"memory.max=max", "memory.high=max", "cpu.max=max 100000", "io.weight=default 100"}
)

const setAll = "--memory-max 300M --memory-high 250M --cpu-quota 50% --tasks-max 150 --io-weight 50 --io-bandwidth 10M"

// TestLimitsThatAreChangedLiveAreTheKernels changes limits of a machine that
// runs and looks at what the kernel makes of them.
func TestLimitsThatAreChangedLiveAreTheKernels(t *testing.T) {
	r := testhost.RunVM(t, testhost.VM{Timeout: 25 * time.Minute, Script: kernelOf + `
everything >/tmp/before
make box --dns host || exit
group=/sys/fs/cgroup/machine.slice/systemd-nspawn@box.service
show plain $group

# The share of one CPU that a busy loop gets, in thousandths, by the kernel's
# count of its CPU time.
used() { awk '$1 == "usage_usec" {print $2}' $group/cpu.stat; }
now() { awk '{print int($1 * 1000)}' /proc/uptime; }
share() {
	local begin=$(now) cpu=$(used)
	nspawn-build exec box timeout 10 sh -c 'while :; do :; done'
	echo $((($(used) - cpu) / ($(now) - begin)))
}
echo "unlimited share=$(share)"
nspawn-build set box --cpu-quota 50% || exit
echo "halved share=$(share)"

nspawn-build set box ` + setAll + ` || exit
show set $group
control
nspawn-build status box
nspawn-build set box ` + setAll + ` | grep already
# Below memory.high it would be slowed down until it hardly moves, and not killed.
nspawn-build set box --unset memory-high || exit
timeout 300 nspawn-build exec box sh -c 'head -c 600M /dev/zero | tail -c 600M | wc -c' >/tmp/greedy 2>&1
echo "greedy=$(tr -dc 0-9 </tmp/greedy)"
echo "killed=$(awk '$1 == "oom_kill" {print $2}' $group/memory.events)"
timeout 300 nspawn-build exec box perl -e 'for (1 .. 300) { my $p = fork; unless (defined $p) { print "refused\n"; exit } unless ($p) { sleep 600; exit } } print "forked\n"' >/tmp/fork 2>&1
echo "forks=$(cat /tmp/fork)"
nspawn-build exec box pkill -x perl

# What somebody else wrote to the kernel is put right by doing it again.
echo max >$group/memory.max
nspawn-build set box --memory-max 300M
echo "again memory.max=$(cat $group/memory.max)"
drift $group
nspawn-build set box --memory-max infinity --unset memory-high,cpu-quota,io-bandwidth,io-weight,tasks-max || exit
show unset $group
control
nspawn-build destroy box || exit
everything | diff /tmp/before - | sed -n 's/^[<>]/left:/p'
`})
	if r.Exit != 0 {
		t.Fatalf("the script failed: %s", r)
	}
	shown(t, r, "plain", unbounded)
	shown(t, r, "set", bounded)
	shown(t, r, "unset", append([]string{"pids.max=16384"}, unbounded...)) // the service's own
	for _, want := range []string{
		"box has these limits already\n", "forks=refused\n", "again memory.max=314572800\n",
		"memory-max    300M, was not set; the kernel has 300M, had infinity\n",
	} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("%q is missing", strings.TrimSpace(want))
		}
	}
	shown(t, r, "drifted", []string{"limits.memory-max: the kernel has infinity"})
	shown(t, r, "mended", []string{"limits.memory-max: the kernel has infinity", "memory.max=314572800"})
	for _, never := range []string{"left:", "control:", "still ", "killed=0\n", "greedy=629145600\n", "unset io.max=rbps=10485760"} {
		if strings.Contains(r.Stdout, never) {
			t.Errorf("there is %q", strings.TrimSpace(never))
		}
	}
	// A wide band: the machine has other things to do too, and its host as well.
	all, half := number(t, r.Stdout, "unlimited share"), number(t, r.Stdout, "halved share")
	if half < 0.25*all || half > 0.75*all {
		t.Errorf("a busy loop gets %v of a CPU unlimited and %v of half a CPU", all, half)
	}
	if t.Failed() {
		t.Log(r)
		return
	}
	t.Logf("the virtual machine printed:\n%s", r.Stdout)
}

// TestLimitsUnderTheDirectDriverAreTheKernels does the same without the service
// manager, and has the machine reboot.
func TestLimitsUnderTheDirectDriverAreTheKernels(t *testing.T) {
	r := testhost.RunVM(t, testhost.VM{Timeout: 25 * time.Minute, Script: kernelOf + `
everything >/tmp/before
make box --driver direct --dns 192.0.2.53 --memory-max 400M || exit
group=/sys/fs/cgroup/nspawn-build-box
nspawn-build set box ` + setAll + ` || exit
show direct $group
# A machine that reboots gets a new group, bounded as it was last.
old=$(nspawn-build status box --output json | sed -n 's/.*"leader": //p')
nspawn-build exec box systemctl reboot
for i in $(seq 100); do
	new=$(nspawn-build status box --output json | sed -n 's/.*"leader": //p')
	[ "$new" ] && [ "$new" != "$old" ] && break
	sleep 1
done
[ "$new" ] && [ "$new" != "$old" ] && echo "rebooted leader=new"
show rebooted $group
drift $group
nspawn-build set box --memory-max infinity --unset memory-high,cpu-quota,io-bandwidth,io-weight,tasks-max || exit
show lifted $group
nspawn-build destroy box || exit
everything | diff /tmp/before - | sed -n 's/^[<>]/left:/p'
`})
	if r.Exit != 0 {
		t.Fatalf("the script failed: %s", r)
	}
	shown(t, r, "direct", bounded)
	shown(t, r, "rebooted", append([]string{"leader=new"}, bounded...))
	shown(t, r, "drifted", []string{"limits.memory-max: the kernel has infinity"})
	shown(t, r, "mended", []string{"limits.memory-max: the kernel has infinity", "memory.max=314572800"})
	shown(t, r, "lifted", append([]string{"pids.max=max"}, unbounded...))
	for _, never := range []string{"left:", "still ", "lifted io.max=rbps=10485760"} {
		if strings.Contains(r.Stdout, never) {
			t.Errorf("there is %q", never)
		}
	}
	t.Logf("the virtual machine printed:\n%s", r.Stdout)
}

// shown says which lines of a group are missing.
func shown(t *testing.T, r testhost.Result, word string, lines []string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(r.Stdout, word+" "+line+"\n") {
			t.Errorf("%q is missing", word+" "+line)
		}
	}
}

// number finds NAME=123 in what was printed.
func number(t *testing.T, text, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(regexp.QuoteMeta(name) + `=([0-9]+)`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("there is no %s in:\n%s", name, text)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAnEnabledMachineComesBackWithItsLimitsWhenTheHostReboots is about limits
// that were changed while the machine ran.
func TestAnEnabledMachineComesBackWithItsLimitsWhenTheHostReboots(t *testing.T) {
	r := testhost.RunVM(t, testhost.VM{Timeout: 20 * time.Minute, Reboots: true, Script: kernelOf + `
if ! test -e /root/booted; then
	make box --dns host --enable --memory-max 400M || exit
	nspawn-build set box ` + setAll + ` || exit
	make other --dns host --no-boot || exit
	cat /proc/sys/kernel/random/boot_id >/root/booted
	systemctl --no-block reboot
	exec sleep infinity
fi
cmp -s /root/booted /proc/sys/kernel/random/boot_id && echo "the host was not booted again"
for i in $(seq 200); do
	name=$(ssh -o BatchMode=yes -o ConnectTimeout=10 root@192.168.200.200 hostname) && break
	sleep 1
done
echo "after name=$name"
show after /sys/fs/cgroup/machine.slice/systemd-nspawn@box.service
echo "after other=$(nspawn-build status other | head -n1)"
nspawn-build destroy box && nspawn-build destroy other || exit
find /etc/systemd -name '*box*' -o -name '*other*' | sed s/^/left:/
`})
	if r.Exit != 0 {
		t.Fatalf("the script failed: %s", r)
	}
	shown(t, r, "after", append([]string{"name=box", "other=other: stopped"}, bounded...))
	for _, never := range []string{"the host was not booted again", "left:"} {
		if strings.Contains(r.Stdout, never) {
			t.Errorf("there is %q", never)
		}
	}
	if t.Failed() {
		t.Log(r)
		return
	}
	t.Logf("the virtual machine printed:\n%s", r.Stdout)
}
