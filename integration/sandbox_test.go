//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// probe is one way that somebody who is root in a machine may try to get out
// of it, or to see what is the host's.
type probe struct {
	what string
	// script succeeds when the way is open. What it needs of tools is in every
	// machine: a shell, coreutils, util-linux and, where perl is true, perl.
	script string
	perl   bool
	// needs is a command that says whether the machine could try at all.
	needs string
}

// call makes a system call by its number on x86_64, which no wrapper of libc can
// hide. It succeeds unless that is forbidden: what the kernel refuses because of
// the arguments it would do with better ones.
func call(number int, args string) string {
	return fmt.Sprintf(`perl -MErrno=EPERM,EACCES,ENOSYS -e 'my $b = "\0" x 4096; my $r = syscall(%d%s); exit($r == -1 && ($!{EPERM} || $!{EACCES} || $!{ENOSYS}) ? 1 : 0)'`, number, args)
}

var probes = []probe{
	{what: "a device of the host's disk", script: `mknod /tmp/disk b $(cat /tmp/host-disk) && head -c1 /tmp/disk`},
	{what: "the kernel's memory", script: `mknod /tmp/mem c 1 1 && head -c1 /tmp/mem`},
	{what: "the kernel's log device", script: `mknod /tmp/kmsg c 1 11 && head -n1 /tmp/kmsg`},
	{what: "mounting the host's disk", script: `mknod /tmp/d b $(cat /tmp/host-disk); mount -t ext4 /tmp/d /mnt`},
	{what: "sysrq", script: `echo h >/proc/sysrq-trigger`},
	{what: "the core pattern, which the host's kernel runs as root", script: `echo '|/tmp/x' >/proc/sys/kernel/core_pattern`},
	{what: "the helper that the kernel runs for a module", script: `echo /tmp/x >/proc/sys/kernel/modprobe`},
	{what: "a remounted /proc/sys", script: `mount -o remount,rw /proc/sys && echo 1 >/proc/sys/kernel/panic`},
	{what: "an uncovered /proc/sys", script: `umount /proc/sys && echo 1 >/proc/sys/kernel/panic`},
	{what: "a new /proc", script: `mkdir -p /tmp/p && mount -t proc proc /tmp/p && echo 1 >/tmp/p/sys/kernel/panic`},
	{what: "a new /proc in new namespaces", script: `unshare -Urmpf --mount-proc sh -c 'echo 1 >/proc/sys/kernel/panic'`},
	{what: "/sys", script: `for f in /sys/kernel/mm/transparent_hugepage/enabled /sys/power/state /sys/kernel/uevent_helper /sys/block/*/uevent; do [ -e $f ] && cat $f >/tmp/v && cat /tmp/v >$f && exit; done; false`},
	{what: "a remounted /sys", script: `mount -o remount,rw /sys/kernel && mkdir /sys/kernel/x`},
	{what: "a new sysfs", script: `mkdir -p /tmp/s && mount -t sysfs sysfs /tmp/s && echo mem >/tmp/s/power/state`},
	{what: "debugfs", script: `mkdir -p /tmp/b && mount -t debugfs debugfs /tmp/b`},
	{what: "tracefs", script: `mkdir -p /tmp/b && mount -t tracefs tracefs /tmp/b`},
	{what: "bpffs", script: `mkdir -p /tmp/b && mount -t bpf bpf /tmp/b && touch /tmp/b/x`},
	{what: "legacy cgroups and their release agent", script: `mkdir -p /tmp/c && mount -t cgroup -o none,name=out cgroup /tmp/c && echo /tmp/x >/tmp/c/release_agent`},
	{what: "cgroups above the machine's own", script: `mkdir -p /tmp/g && mount -t cgroup2 cgroup2 /tmp/g && [ "$(cat /tmp/g/cgroup.procs | tr -d '\n')" = 0 ]`},
	{what: "files of the host through its processes", script: `for p in /proc/[0-9]*; do grep -qs of-the-host-alone $p/root/etc/canary $p/cwd/etc/canary && exit 0; done; false`},
	{what: "files of the host through PID 1", script: `grep -s of-the-host-alone /proc/1/root/etc/canary /proc/1/root/../../etc/canary /proc/1/cwd/../../../etc/canary`},
	{what: "files of the host through open descriptors", script: `for f in /proc/[0-9]*/fd/*; do [ -d $f ] && grep -qs of-the-host-alone $f/etc/canary $f/../../../../etc/canary && exit 0; done; false`},
	{what: "processes of the host", script: `ls /proc | grep -qx "$(cat /tmp/host-pid)" && tr '\0' ' ' </proc/$(cat /tmp/host-pid)/cmdline | grep 31536000`},
	{what: "namespaces of the host", script: `for p in /proc/[0-9]*; do [ "$(readlink $p/ns/mnt)" = "$(cat /tmp/host-mnt)" ] && nsenter -m/$p/ns/mnt true && exit 0; done; false`},
	{what: "a chroot and out of it", perl: true, script: `perl -e 'mkdir "/tmp/j"; chroot "/tmp/j" or exit 1; chdir ".." for 1..64; chroot "." or exit 1; open F, "<", "/etc/canary" or exit 1; exit(<F> =~ /of-the-host-alone/ ? 0 : 1)'`},
	{what: "a handle of a file, opened by number", perl: true, script: call(304, `, 0, pack("IiII", 8, 1, 2, 0), 0`)},
	{what: "a module for the kernel", perl: true, script: call(175, `, $b, 1, $b`)},
	{what: "a module from a file", perl: true, script: call(313, `, 0, $b, 0`)},
	{what: "another kernel", perl: true, script: call(246, `, 0, 0, 0, 0`)},
	{what: "the kernel's log", perl: true, script: call(103, `, 3, $b, 4096`)},
	{what: "dmesg", script: `dmesg 2>/dev/null | grep -q .`, needs: "command -v dmesg"},
	{what: "the size of the kernel's log", perl: true, script: call(103, `, 10, 0, 0`)},
	{what: "keys of the host", perl: true, script: call(250, `, 0, -4, 1`)},
	{what: "a key of its own in the host's keyrings", perl: true, script: call(248, `, "user", "k", "v", 1, -4`)},
	{what: "the list of keys", script: `grep -q . /proc/keys`},
	{what: "addresses in the kernel", script: `grep -q . /proc/kallsyms`},
	{what: "tracing another process", perl: true, script: call(101, `, 16, 1, 0, 0`)},
	{what: "the memory of another process", script: `dd if=/proc/1/mem bs=1 count=1 skip=4194304 of=/dev/null 2>/dev/null && dd if=/proc/1/mem bs=1 count=1 | grep -q .`},
	{what: "reading the memory of another process", perl: true, script: call(310, `, 1, 0, 0, 0, 0, 0`)},
	{what: "bpf", perl: true, script: call(321, `, 0, $b, 128`)},
	{what: "performance counters", perl: true, script: call(298, `, $b, 0, -1, -1, 0`)},
	{what: "io_uring", perl: true, script: call(425, `, 1, $b`)},
	{what: "userfaultfd", perl: true, script: call(323, `, 1`)},
	{what: "comparing processes", perl: true, script: call(312, `, $$, $$, 0, 0, 0`)},
	{what: "swap", perl: true, script: call(167, `, "/tmp/x", 0`)},
	{what: "the clock", script: `date -s 2001-01-01`},
	{what: "a raw socket", perl: true, script: `perl -MSocket -e 'socket(S, PF_INET, SOCK_RAW, 1) or exit 1'`},
	{what: "a packet socket", perl: true, script: `perl -MSocket -e 'socket(S, 17, SOCK_RAW, 0x300) or exit 1'`},
	{what: "audit", perl: true, script: `perl -MSocket -e 'socket(S, 16, SOCK_RAW, 9) or exit 1'`},
	{what: "immutable files", script: `touch /tmp/i && chattr +i /root/.profile`, needs: "command -v chattr"},
	{what: "more of the CPU than others", script: `nice -n -20 sh -c '[ $(nice) = -20 ]'`},
	{what: "privileges by setuid", script: `cp /bin/sh /var/tmp/sh && chmod 4755 /var/tmp/sh && setpriv --reuid 1000 --clear-groups /var/tmp/sh -p -c '[ $(id -u) = 0 ]'`, needs: "command -v setpriv"},
	{what: "the host's mounts through /run/host", script: `ls /run/host/incoming/* || mount --bind /run/host/incoming /mnt && ls /mnt/*`},
	{what: "a device node that a bind brings along", script: `mknod /workspace/null c 1 3 && : >/workspace/null`},
	{what: "the journal of the host", script: `ls /var/log/journal 2>/dev/null | grep -qx "$(cat /tmp/host-id)"`},
}

// hostFacts are told to the machine, so that the probes aim at what is there.
func hostFacts(t *testing.T, h *testhost.Host, name string) {
	t.Helper()
	h.Start(t, testhost.Command{Args: []string{"sleep", "31536000"}})
	pid := strings.TrimSpace(h.Eventually(t, 10*time.Second, "pgrep", "-nx", "sleep"))
	facts := map[string]string{
		"host-disk": strings.TrimSpace(h.MustRun(t, "sh", "-c", `stat -c %d /root | perl -ne 'printf "%d %d", $_ >> 8 & 0xfff, $_ & 0xff'`)),
		"host-pid":  pid,
		"host-mnt":  strings.TrimSpace(h.MustRun(t, "readlink", "/proc/self/ns/mnt")),
		"host-id":   strings.TrimSpace(h.MustRun(t, "cat", "/etc/machine-id")),
	}
	for file, fact := range facts {
		r := h.RunInput(t, fact, "nspawn-build", "exec", name, "--", "sh", "-c", "cat >/tmp/"+file)
		want(t, exitDone, r)
	}
}

// tryToGetOut runs every probe in a machine, from a login over SSH and by exec,
// which comes from outside, and compares the host afterwards.
func tryToGetOut(t *testing.T, h *testhost.Host, m created) {
	t.Helper()
	name := m.Name
	perl := inMachine(t, h, name, "command -v perl").Exit == 0
	hostFacts(t, h, name)
	state := func() string {
		return h.MustRun(t, "sh", "-c", `sha256sum /etc/canary /etc/passwd /etc/shadow /proc/sys/kernel/core_pattern /proc/sys/kernel/panic; `+
			`find /etc /root/.ssh /srv -xdev -printf '%p %m %U %G %s %T@\n' | sort | sha256sum; date +%Y`)
	}
	before := state()
	for _, p := range probes {
		if p.perl && !perl || p.needs != "" && inMachine(t, h, name, p.needs).Exit != 0 {
			t.Logf("not tried, for want of tools in the machine: %s", p.what)
			continue
		}
		for way, argv := range map[string][]string{
			"exec": {"nspawn-build", "exec", name, "--", "sh", "-c", p.script},
			"ssh":  slices.Concat([]string{"ssh"}, sshOptions, []string{"root@" + m.Address.String(), "sh -c " + quote(p.script)}),
		} {
			if r := h.RunCommand(t, testhost.Command{Args: argv, Timeout: time.Minute}); r.Exit == 0 {
				t.Errorf("the way out by %s is open to who comes by %s: %s", p.what, way, r)
			}
		}
	}
	if after := state(); after != before {
		t.Errorf("the host was\n%s and is\n%s", before, after)
	}
	if r := inMachine(t, h, name, "systemctl is-system-running"); r.Stdout != "running\n" {
		t.Errorf("after all that the machine is %s", r)
	}
}

// sandboxed checks that a machine is what the profile promises.
func sandboxed(t *testing.T, h *testhost.Host, m created) {
	t.Helper()
	checkReaching(t, h, m, testhost.InternetAddress) // the outside's other address is on the host's LAN
	r := want(t, exitDone, inMachine(t, h, m.Name, "grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/1/status; cat /proc/self/uid_map"))
	fields := strings.Fields(r.Stdout)
	if len(fields) != 9 || fields[3] != "1" || fields[5] != "2" || fields[7] == "0" {
		t.Errorf("its first process has %s", r)
	}
	var record struct {
		Spec struct {
			Network  struct{ Egress string }
			Limits   struct{ MemoryMax, TasksMax, CPUQuota uint64 }
			Security struct {
				Profile         string
				NoNewPrivileges bool
			}
		}
	}
	if err := json.Unmarshal([]byte(h.ReadFile(t, "/var/lib/nspawn-build/machines/"+m.Name+".json")), &record); err != nil {
		t.Fatal(err)
	}
	s := record.Spec
	if s.Network.Egress != "internet" || s.Limits.MemoryMax == 0 || s.Limits.TasksMax == 0 || s.Limits.CPUQuota == 0 || !s.Security.NoNewPrivileges || s.Security.Profile != "sandbox" {
		t.Errorf("what the profile stands for is not on record: %+v", s)
	}
}

func TestNothingGetsOutOfASandbox(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := withUsers(t, installFixture(t, kind.start(t, testhost.Options{})))
			h.Internet(t)
			before := h.Snapshot(t)
			h.WriteFile(t, "/etc/canary", "of-the-host-alone\n", "0644")
			m := create(t, h, fixture("box", "--profile", "sandbox", "--bind", "/home/alice/project:/workspace")...)
			sandboxed(t, h, m)
			t.Run("by no way", func(t *testing.T) { tryToGetOut(t, h, m) })
			destroy(t, h, "box")
			h.MustRun(t, "rm", "/etc/canary")
			nothingLeft(t, h, before)
		})
	}
}

// The probes are worth something only if they find a way where there is one.
func TestTheProbesFindTheWaysOutOfAMachineThatIsNoSandbox(t *testing.T) {
	t.Parallel()
	h := withUsers(t, installFixture(t, testhost.StartDirect(t, testhost.Options{})))
	h.WriteFile(t, "/etc/canary", "of-the-host-alone\n", "0644")
	create(t, h, fixture("box", "--private-users", "no", "--capability", "all", "--system-call-filter", "@known", "--private-network")...)
	hostFacts(t, h, "box")
	// Only those that change nothing outside of the machine: this one is bounded
	// by no more than the host of the test is.
	harmless := map[string]bool{}
	for _, what := range []string{
		"the kernel's log", "the size of the kernel's log", "keys of the host", "a raw socket", "a packet socket", "audit",
		"io_uring", "userfaultfd", "comparing processes", "reading the memory of another process", "bpf",
		"performance counters", "privileges by setuid",
	} {
		harmless[what] = true
	}
	for _, p := range probes {
		if !harmless[p.what] {
			continue
		}
		delete(harmless, p.what)
		if r := inMachine(t, h, "box", p.script); r.Exit != 0 {
			t.Errorf("%s is not found open: %s", p.what, r)
		}
	}
	for what := range harmless {
		t.Errorf("there is no probe of %s", what)
	}
}

func TestASandboxOfEveryDistributionIsReached(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.Start(t, options(t, testhost.Options{}, arch, fedora)))
	h.Internet(t)
	for name, command := range map[string][]string{
		"deb":  debian("trixie", "deb"),
		"arch": arch.command(t, h, "arch"),
		"fed":  fedora.command(t, h, "fed"),
	} {
		t.Run(name, func(t *testing.T) {
			h.WriteFile(t, "/etc/canary", "of-the-host-alone\n", "0644")
			m := create(t, h, append(command, "--profile", "sandbox")...)
			sandboxed(t, h, m)
			tryToGetOut(t, h, m)
			destroy(t, h, name)
		})
	}
}

// The settings are carried out by whatever systemd a host has.
func TestEverySystemdHardensTheSame(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "forky"} {
		t.Run(suite, func(t *testing.T) {
			h := withUsers(t, installFixture(t, testhost.Start(t, testhost.Options{Suite: suite})))
			h.Internet(t)
			h.MustRun(t, "machinectl", "list") // what machined makes when it starts is its own
			before := h.Calm(t)
			sandboxed(t, h, create(t, h, fixture("box", "--profile", "sandbox", "--read-only", "--bind", "/home/alice/project:/workspace")...))
			want(t, exitDone, inMachine(t, h, "box", "! touch /etc/x && echo made >/workspace/made"))
			if got := h.MustRun(t, "stat", "-c", "%U:%G", "/home/alice/project/made"); got != "alice:alice\n" {
				t.Errorf("what the machine made belongs to %s", got)
			}
			checkMachine(t, h, create(t, h, fixture("brief", "--ephemeral", "--private-users", "identity", "--bind", "/home/alice/project:/workspace")...))
			if r := inMachine(t, h, "brief", "stat -c %U /workspace/made && touch /workspace/more && cat /proc/self/uid_map"); !strings.HasPrefix(r.Stdout, "root\n") || r.Exit != 0 {
				t.Errorf("with the host's numbers it is %s", r)
			}
			create(t, h, fixture("none", "--private-network", "--drop-capability", "net_admin")...)
			for _, name := range []string{"box", "brief", "none"} {
				destroy(t, h, name)
			}
			nothingLeft(t, h, before)
		})
	}
}
