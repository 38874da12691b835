//go:build integration

package readiness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/direct"
	"github.com/nspawn-build/nspawn-build/core/driver/treetest"
)

// TestMain is the supervisor when the tests start it as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == direct.Verb {
		if err := direct.Supervise(context.Background(), direct.Config{RuntimeDir: os.Args[2]}, os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(treetest.Main(m))
}

type bench struct {
	t       *testing.T
	driver  *direct.Driver
	tree    treetest.Tree
	machine driver.Machine
	target  Target
}

func newBench(t *testing.T) *bench {
	t.Helper()
	treetest.Need(t, "systemd-nspawn", "nsenter", "ip")
	runtime, err := os.MkdirTemp("/run", "nb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		t: t, tree: treetest.Shared(t, netip.MustParsePrefix("192.168.232.200/24")),
		driver: direct.New(direct.Config{Self: []string{exe, direct.Verb, runtime}, RuntimeDir: runtime}),
	}
	b.machine = driver.Machine{
		Name: "proof", Tree: b.tree.Path, Interface: "ve-proof",
		HostSide: netip.MustParsePrefix("192.168.232.1/24"),
	}
	b.target = Target{
		Name: "proof", Driver: b.driver, Interface: "ve-proof",
		Address: netip.MustParseAddr("192.168.232.200"), HostKey: b.tree.HostKey,
		Logins: []Login{
			{"password", ssh.Password(b.tree.Password)},
			{"key", ssh.PublicKeys(b.tree.UserKey)},
		},
		ProbeHost: "inside.test",
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.driver.Stop(ctx, b.machine, 0); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) start() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	if err := b.driver.Start(ctx, b.machine); err != nil {
		b.t.Fatal(err)
	}
}

// prove returns the rungs that were reported.
func (b *bench) prove(within time.Duration) ([]Rung, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), within)
	defer cancel()
	var rungs []Rung
	err := Prove(ctx, b.target, func(r Rung) {
		rungs = append(rungs, r)
		b.t.Logf("%6v %s: %s %s", r.After, r.Step, r.Detail, r.Warning)
	})
	return rungs, err
}

// fails proves and returns the failure, which must be of the given step.
func (b *bench) fails(step Step, within time.Duration) *Error {
	b.t.Helper()
	_, err := b.prove(within)
	var e *Error
	if !errors.As(err, &e) {
		b.t.Fatalf("got %v, want a failure of %q", err, step)
	}
	b.t.Logf("%s: %v\nhint: %s\n%s", e.Rung, e, e.Hint, strings.Join(e.Journal, "\n"))
	if e.Rung != step {
		b.t.Fatalf("failed at %q, want %q", e.Rung, step)
	}
	if e.Hint == "" || len(e.Journal) == 0 {
		b.t.Error("no hint, or no journal")
	}
	return e
}

func stepsOf(rungs []Rung) []Step {
	var s []Step
	for _, r := range rungs {
		s = append(s, r.Step)
	}
	return s
}

func TestEveryRungIsClimbedInOrder(t *testing.T) {
	b := newBench(t)
	begin := time.Now()
	b.start()
	rungs, err := b.prove(3 * time.Minute) // an emulated machine takes its time
	t.Logf("all in %v", time.Since(begin))
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{Started, LeaderRuns, SystemdUp, Addressed, Answers, KeyIsOurs, LoggedIn, Resolves}
	if diff := cmp.Diff(want, stepsOf(rungs)); diff != "" {
		t.Errorf("rungs (-want +got):\n%s", diff)
	}
}

func TestProofOfAMachineThatIsUpIsQuickAndLeavesNothingRunning(t *testing.T) {
	b := newBench(t)
	begin := time.Now()
	b.start()
	if _, err := b.prove(3 * time.Minute); err != nil {
		t.Fatal(err)
	}
	first := time.Since(begin)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	begin = time.Now()
	if _, err := b.prove(time.Minute); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > first {
		t.Errorf("took %v, and %v while the machine booted", took, first)
	}
}

func TestOtherHostKeyIsNeverAccepted(t *testing.T) {
	b := newBench(t)
	b.target.HostKey = b.tree.UserKey.PublicKey()
	b.start()
	e := b.fails(KeyIsOurs, 30*time.Second)
	if !errors.Is(e, errWrongKey) {
		t.Errorf("got %v", e)
	}
}

func TestRefusedLoginNamesTheWay(t *testing.T) {
	b := newBench(t)
	b.target.Logins[0] = Login{"password", ssh.Password("wrong")}
	b.start()
	if e := b.fails(LoggedIn, 40*time.Second); !strings.Contains(e.Message, "by password") {
		t.Errorf("got %v", e)
	}
}

func TestFailedUnitIsAWarning(t *testing.T) {
	b := newBench(t)
	b.tree.Service(t, "broken", "[Service]\nType=oneshot\nExecStart=false\n[Install]\nWantedBy=multi-user.target\n")
	b.start()
	rungs, err := b.prove(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got := rungs[SystemdUp]; got.Detail != "degraded" || got.Warning != "failed units: broken.service" {
		t.Errorf("got %+v", got)
	}
}

func TestSshdThatNeverComesUpIsNamed(t *testing.T) {
	b := newBench(t)
	treetest.Run(t, "systemctl", "--root="+b.tree.Path, "-q", "mask", "ssh.service")
	t.Cleanup(func() { treetest.Run(t, "systemctl", "--root="+b.tree.Path, "-q", "unmask", "ssh.service") })
	b.start()
	_ = b.fails(Answers, 6*time.Second)
}

func TestUnitThatNeverFinishesIsSystemdsFailure(t *testing.T) {
	b := newBench(t)
	b.tree.Service(t, "endless", "[Service]\nType=oneshot\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n")
	b.start()
	_ = b.fails(SystemdUp, 6*time.Second)
}

func TestMissingAddressIsNamed(t *testing.T) {
	b := newBench(t)
	b.target.Address = netip.MustParseAddr("192.168.232.77")
	b.start()
	_ = b.fails(Addressed, 5*time.Second)
}

func TestMachineThatGoesDownFailsAtOnce(t *testing.T) {
	b := newBench(t)
	b.tree.Service(t, "leaving", "[Service]\nExecStart=sh -c 'sleep 1; poweroff -f'\n[Install]\nWantedBy=sysinit.target\n[Unit]\nDefaultDependencies=no\n")
	b.tree.Service(t, "endless", "[Service]\nType=oneshot\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n")
	b.start()
	begin := time.Now()
	_ = b.fails(LeaderRuns, 30*time.Second)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestNameThatNobodyResolvesIsAWarning(t *testing.T) {
	b := newBench(t)
	b.target.ProbeHost = "nowhere.invalid"
	b.start()
	rungs, err := b.prove(60 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got := rungs[Resolves]; got.Warning == "" {
		t.Errorf("got %+v", got)
	}
}

func TestNameThatOnlyTheHostResolvesIsAFailure(t *testing.T) {
	b := newBench(t)
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n127.0.0.9 outside.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	treetest.Run(t, "mount", "--bind", hosts, "/etc/hosts") // the test has mounts of its own
	t.Cleanup(func() { treetest.Run(t, "umount", "/etc/hosts") })
	b.target.ProbeHost = "outside.test"
	b.start()
	_ = b.fails(Resolves, 60*time.Second)
}

// elsewhere puts another owner of the machine's address behind another link,
// where the route to it leads, and tells whether anybody ever called on it.
func elsewhere(t *testing.T, address string) (called func() bool) {
	t.Helper()
	treetest.Run(t, "ip", "netns", "add", "elsewhere")
	t.Cleanup(func() { treetest.Run(t, "ip", "netns", "del", "elsewhere") })
	treetest.Run(t, "ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0", "netns", "elsewhere")
	treetest.Run(t, "ip", "addr", "add", "10.9.9.1/24", "dev", "out0")
	treetest.Run(t, "ip", "link", "set", "out0", "up")
	treetest.Run(t, "ip", "-n", "elsewhere", "addr", "add", "10.9.9.2/24", "dev", "in0")
	treetest.Run(t, "ip", "-n", "elsewhere", "addr", "add", address+"/32", "dev", "in0")
	treetest.Run(t, "ip", "-n", "elsewhere", "link", "set", "in0", "up")
	treetest.Run(t, "ip", "route", "add", "default", "via", "10.9.9.2")
	t.Cleanup(func() { treetest.Run(t, "ip", "route", "del", "default", "via", "10.9.9.2") })
	// It refuses connections, so that whoever asks gets an answer.
	for deadline := time.Now().Add(20 * time.Second); ; { // the links take a moment
		_, err := net.DialTimeout("tcp", address+":22", time.Second)
		if err != nil && strings.Contains(err.Error(), "refused") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the other owner cannot be reached at all: %v", err)
		}
	}
	count := func() string {
		out, err := exec.Command("ip", "netns", "exec", "elsewhere", "sh", "-c", "grep '^Tcp:' /proc/net/snmp").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before := count()
	return func() bool { return count() != before }
}

func TestProbesNeverStrayToAnotherOwnerOfTheAddress(t *testing.T) {
	called := elsewhere(t, "192.168.232.200")
	t.Run("while the interface is missing", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if conn, err := dial(ctx, "ve-proof", netip.Addr{}, "192.168.232.200:22"); err == nil {
			_ = conn.Close()
			t.Error("a connection without the interface")
		} else {
			t.Log(err)
		}
	})
	t.Run("while the machine boots and afterwards", func(t *testing.T) {
		b := newBench(t)
		b.start()
		if _, err := b.prove(30 * time.Second); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("while the host's end has no address", func(t *testing.T) {
		b := newBench(t)
		b.start()
		treetest.Run(t, "ip", "addr", "flush", "dev", "ve-proof")
		_, err := b.prove(4 * time.Second)
		t.Log(err)
	})
	if called() {
		t.Error("a probe reached the other owner")
	}
}

func TestHostileMachineCannotMakeThatARungHangs(t *testing.T) {
	b := newBench(t)
	// Something else on port 22 that never says a word.
	treetest.Run(t, "systemctl", "--root="+b.tree.Path, "-q", "mask", "ssh.service")
	t.Cleanup(func() { treetest.Run(t, "systemctl", "--root="+b.tree.Path, "-q", "unmask", "ssh.service") })
	b.tree.Write(t, "etc/systemd/system/mute.socket", "[Socket]\nListenStream=22\nAccept=no\n[Install]\nWantedBy=sockets.target\n", 0o644)
	b.tree.Write(t, "etc/systemd/system/mute.service", "[Service]\nExecStart=sleep infinity\n", 0o644)
	treetest.Run(t, "systemctl", "--root="+b.tree.Path, "-q", "enable", "mute.socket")
	t.Cleanup(func() {
		treetest.Run(t, "systemctl", "--root="+b.tree.Path, "-q", "disable", "mute.socket")
		treetest.Run(t, "rm", b.tree.Path+"/etc/systemd/system/mute.socket", b.tree.Path+"/etc/systemd/system/mute.service")
	})
	b.start()
	begin := time.Now()
	_ = b.fails(Answers, 5*time.Second)
	if took := time.Since(begin); took > 12*time.Second {
		t.Errorf("took %v", took)
	}
}
