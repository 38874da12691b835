//go:build integration

package direct

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/treetest"
	"github.com/nspawn-build/nspawn-build/core/inside"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// TestMain is the supervisor when the tests start it as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == Verb {
		// As a program does that minds its signals. The supervisor must
		// not end by this.
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGHUP)
		go func() {
			<-signals
			_ = os.WriteFile(filepath.Join(os.Args[2], "ended by its program"), nil, 0o600)
			os.Exit(1)
		}()
		if err := Supervise(context.Background(), Config{RuntimeDir: os.Args[2]}, os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(treetest.Main(m))
}

// bench is a driver with one machine.
type bench struct {
	*Driver
	t       *testing.T
	tree    treetest.Tree
	machine driver.Machine
	before  string
}

var warnings []string

func newBench(t *testing.T) *bench {
	t.Helper()
	treetest.Need(t, "systemd-nspawn", "nft", "nsenter", "ip")
	runtime, err := os.MkdirTemp("/run", "nb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tree := treetest.Shared(t, netip.MustParsePrefix("192.168.231.200/24"))
	b := &bench{
		Driver: New(Config{Self: []string{exe, Verb, runtime}, RuntimeDir: runtime, Warn: func(w string) { warnings = append(warnings, w) }}),
		t:      t, tree: tree,
		machine: driver.Machine{
			Name: "my-box.1", Tree: tree.Path, Interface: "ve-my-box.1",
			HostSide: netip.MustParsePrefix("192.168.231.1/24"),
		},
	}
	b.before = b.traces()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Stop(ctx, b.machine, 0); err != nil {
			t.Error(err)
		}
		b.nothingIsLeft()
	})
	return b
}

// traces is everything on this host that a machine may leave its mark on.
func (b *bench) traces() string {
	b.t.Helper()
	script := `ip -br link | grep ^ve-; nft list tables; cat /proc/sys/net/ipv4/ip_forward
find /sys/fs/cgroup -maxdepth 3 -name 'nspawn-build-my-box.1*'; find "$0" -mindepth 1 ! -name '*.lock' ! -name machines 2>/dev/null
ps -eo args | grep 'my-box[.]1' | grep -v 'sh -c'; true`
	out, err := exec.Command("sh", "-c", script, b.config.RuntimeDir).CombinedOutput()
	if err != nil {
		b.t.Fatal(err, string(out))
	}
	return string(out)
}

func (b *bench) nothingIsLeft() {
	b.t.Helper()
	if now := b.traces(); now != b.before {
		b.t.Errorf("left behind:\n%s\nbefore there was:\n%s", now, b.before)
	}
}

func (b *bench) start() driver.Status {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	begin := time.Now()
	if err := b.Start(ctx, b.machine); err != nil {
		lines, _ := b.Console(ctx, b.machine.Name, 30)
		b.t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	b.t.Logf("started in %v", time.Since(begin))
	status := b.status()
	if status.State != driver.Running {
		b.t.Fatalf("started, but %+v", status)
	}
	return status
}

func (b *bench) stop(grace time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	if err := b.Stop(ctx, b.machine, grace); err != nil {
		b.t.Fatal(err)
	}
	b.t.Logf("stopped in %v", time.Since(begin))
	if s := b.status(); s.State != driver.Stopped {
		b.t.Errorf("stopped, but %+v", s)
	}
}

func (b *bench) status() driver.Status {
	b.t.Helper()
	s, err := b.Status(b.t.Context(), b.machine.Name)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// inside runs a command that must succeed once the machine is up.
func (b *bench) inside(argv ...string) string {
	b.t.Helper()
	var last string
	for range 200 {
		s := b.status()
		if s.State == driver.Running {
			out, code, err := inside.Command{Leader: s.Leader, Argv: argv}.Output(b.t.Context(), 1<<16)
			if err == nil && code == 0 {
				return strings.TrimSpace(string(out))
			}
			last = fmt.Sprint(code, err, string(out))
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.t.Fatalf("%v inside: %s", argv, last)
	return ""
}

func (b *bench) until(what string, f func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			b.t.Fatalf("never: %s\n%s", what, b.traces())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestMachineIsBootedReachedAndStoppedWithoutTrace(t *testing.T) {
	b := newBench(t)
	first := b.start()
	if out, err := exec.Command("ip", "-br", "addr", "show", b.machine.Interface).Output(); err != nil || !strings.Contains(string(out), "192.168.231.1/24") {
		t.Errorf("the host's end: %s, %v", out, err)
	}
	if out, err := exec.Command("nft", "list", "table", "inet", "nspawn-build-my-box.1").CombinedOutput(); err != nil ||
		!strings.Contains(string(out), `ip saddr 192.168.231.0/24 oifname != "ve-my-box.1" masquerade comment "made by nspawn-build for my-box.1"`) {
		t.Errorf("the table: %s, %v", out, err)
	}
	b.inside("systemctl", "is-system-running", "--wait")
	ctx := t.Context()
	if err := b.Start(ctx, b.machine); err != nil {
		t.Errorf("starting a running machine: %v", err)
	}
	if again := b.status(); again.Leader != first.Leader {
		t.Errorf("starting a running machine started another: %+v, was %+v", again, first)
	}
	b.stop(20 * time.Second)
	b.nothingIsLeft()
	b.stop(time.Second) // a stopped one
	second := b.start()
	if second.Leader == first.Leader {
		t.Error("the second boot has the first one's leader")
	}
	b.stop(20 * time.Second)
}

func TestStoppingRightAfterTheStartIsOrderlyAndQuick(t *testing.T) {
	b := newBench(t)
	b.start()
	begin := time.Now()
	b.stop(20 * time.Second)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestRebootFromInsideStartsTheMachineAgain(t *testing.T) {
	b := newBench(t)
	first := b.start()
	b.inside("systemctl", "is-system-running", "--wait")
	b.inside("systemctl", "reboot")
	b.until("another leader", func() bool {
		s := b.status()
		return s.State == driver.Running && s.Leader != first.Leader
	})
	b.inside("systemctl", "is-system-running", "--wait")
	if out, err := exec.Command("ip", "-br", "addr", "show", b.machine.Interface).Output(); err != nil || !strings.Contains(string(out), "192.168.231.1/24") {
		t.Errorf("the host's end after the reboot: %s, %v", out, err)
	}
}

func TestPoweroffFromInsideLeavesNothingButTheConsole(t *testing.T) {
	b := newBench(t)
	b.start()
	b.inside("systemctl", "is-system-running", "--wait")
	b.inside("systemctl", "poweroff")
	f, err := b.files(b.machine.Name)
	if err != nil {
		t.Fatal(err)
	}
	b.until("nothing but the console is left", func() bool {
		left := strings.ReplaceAll(b.traces(), f.dir+"\n", "")
		return strings.ReplaceAll(left, f.console()+"\n", "") == b.before
	})
	if running, err := held(f.lock()); running || err != nil {
		t.Errorf("its lock is held: %v, %v", running, err)
	}
	lines, err := b.Console(t.Context(), b.machine.Name, 100)
	if err != nil || len(lines) == 0 {
		t.Errorf("the console of a machine that ended: %v, %v", lines, err)
	}
}

func TestHostWithoutMachineIDBootsMachinesToo(t *testing.T) {
	b := newBench(t)
	const identity = "/etc/machine-id"
	empty := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(empty, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	treetest.Run(t, "mount", "--bind", empty, identity) // the test has mounts of its own
	t.Cleanup(func() { treetest.Run(t, "umount", identity) })
	b.start()
	first := b.inside("cat", "/sys/class/net/host0/address")
	b.stop(20 * time.Second)
	b.nothingIsLeft()
	b.start()
	if second := b.inside("cat", "/sys/class/net/host0/address"); second != first {
		t.Errorf("the hardware address is %s, and was %s", second, first)
	}
	if text, err := os.ReadFile(identity); err != nil || len(text) != 0 {
		t.Errorf("the host's machine id is now %q, %v", text, err)
	}
}

func TestMachineThatCannotReachBeyondTheHostIsAWarning(t *testing.T) {
	b := newBench(t)
	warned := len(warnings)
	// A switch that cannot be locked is not touched.
	lock, err := os.Open(b.config.RuntimeDir)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	b.start()
	if got := warnings[warned:]; len(got) != 1 || !strings.Contains(got[0], "cannot reach beyond") {
		t.Errorf("warned %q", got)
	}
	b.inside("systemctl", "is-system-running", "--wait")
	if value, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err != nil || string(value) != "0\n" {
		t.Errorf("forwarding is %q, %v", value, err)
	}
	b.stop(20 * time.Second)
}

func TestLimitsOfAStoppedMachineAreLeftToItsStart(t *testing.T) {
	d := New(Config{RuntimeDir: t.TempDir()})
	m := driver.Machine{Name: "none", Limits: spec.Limits{TasksMax: 50}}
	if refused, err := d.Limit(t.Context(), m); err != nil || refused != nil {
		t.Errorf("Limit: %q, %v", refused, err)
	}
	if b, err := d.Limits(t.Context(), m); err != nil || !reflect.DeepEqual(b, driver.Bounds{}) {
		t.Errorf("Limits: %+v, %v", b, err)
	}
}

func TestLimitsOfARunningMachineAreSetOrSaidNotToHold(t *testing.T) {
	b := newBench(t)
	b.start()
	m := b.machine
	m.Limits = spec.Limits{MemoryMax: 1 << 30, TasksMax: 500, CPUQuota: 150}
	limits := func() driver.Bounds {
		t.Helper()
		got, err := b.Limits(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if len(limits().Pending) != 3 {
		t.Errorf("of a machine without limits is said: %+v", limits())
	}
	refused, err := b.Limit(t.Context(), m)
	if err != nil || len(refused) > 0 || len(limits().Pending) > 0 {
		t.Fatalf("Limit: %q, %v; then %+v", refused, err, limits())
	}
	got, unenforced := limits().Kernel, b.Unenforced(m)
	holds := got.MemoryMax == m.Limits.MemoryMax && got.TasksMax == m.Limits.TasksMax && got.CPUQuota == m.Limits.CPUQuota
	if holds == (len(unenforced) > 0) {
		t.Errorf("they are %+v, and said not to be enforced: %q", got, unenforced)
	}

	// What was changed outlives a reboot of the machine, for which the
	// supervisor makes a new group.
	f, err := b.files(m.Name)
	if err != nil {
		t.Fatal(err)
	}
	if f.described(spec.Limits{}) != m.Limits {
		t.Errorf("the supervisor would boot it with %+v", f.described(spec.Limits{}))
	}
	b.stop(20 * time.Second)
}
