//go:build integration

package testhost

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// kinds are the two kinds of hosts, for what is true of both.
var kinds = []struct {
	name  string
	start func(testing.TB, Options) *Host
}{{"systemd", Start}, {"direct", StartDirect}}

func TestHostReachesTheOutsideAndNothingElse(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := kind.start(t, Options{})
			if got := h.MustRun(t, "getent", "hosts", OutsideName); !strings.HasPrefix(got, OutsideAddress+" ") {
				t.Errorf("%s resolves to %q", OutsideName, got)
			}
			if got := h.MustRun(t, "curl", "-sS", "http://"+OutsideName+"/"); got != OutsideText {
				t.Errorf("the outside says %q", got)
			}
			if r := h.Run(t, "getent", "hosts", "nowhere.test"); r.Exit != 2 {
				t.Errorf("a name that does not exist: %s", r)
			}
			if got := h.MustRun(t, "ip", "route", "show", "default"); got != "" {
				t.Errorf("there is a way out: %s", got)
			}
			if r := h.Run(t, "ping", "-c1", "-W1", "198.51.100.1"); r.Exit == 0 {
				t.Errorf("an address that nobody has answers: %s", r)
			}
			h.MustRun(t, "apt-get", "update", "-o", "APT::Update::Error-Mode=any")
		})
	}
}

func TestHostStartsAMachine(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) { hostStartsAMachine(t, kind.start(t, Options{})) })
		t.Run(kind.name+" with legacy cgroups", func(t *testing.T) {
			RequireLegacyCgroups(t)
			hostStartsAMachine(t, kind.start(t, Options{LegacyCgroups: true}))
		})
	}
}

func hostStartsAMachine(t *testing.T, h *Host) {
	t.Helper()
	tarball, err := MachineTarball(t.Context(), "trixie")
	if err != nil {
		t.Fatal(err)
	}
	h.CopyIn(t, tarball, "/root/machine.tar.zst")
	h.MustRun(t, "mkdir", "-p", "/var/lib/machines/m")
	h.MustRun(t, "tar", "-C", "/var/lib/machines/m", "-xf", "/root/machine.tar.zst", "--xattrs", "--numeric-owner")
	startMachine(t, h)
	h.Eventually(t, 10*time.Second, "ip", "link", "show", "ve-m")
	leader := h.MachineLeader(t, "m")
	h.Eventually(t, 30*time.Second, "nsenter", "--target="+leader, "--all", "systemctl", "is-system-running")
}

// startMachine starts the machine m as each kind of host would.
func startMachine(t *testing.T, h *Host) {
	t.Helper()
	if h.Systemd() {
		h.MustRun(t, "machinectl", "start", "m")
		return
	}
	h.Start(t, Command{Args: []string{"sh", "-c", `
		cd /sys/fs/cgroup
		for h in systemd unified .; do
			test ! -e $h/cgroup.procs || { mkdir $h/m && echo $$ >$h/m/cgroup.procs; } || exit 1
		done
		exec systemd-nspawn --quiet --register=no --keep-unit --link-journal=no -U --network-veth --boot -M m -D /var/lib/machines/m`}})
}

func TestASnapshotSeesEveryKindOfTraceAndNothingElse(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := kind.start(t, Options{})
			before := h.Snapshot(t)
			sleeper := h.Start(t, Command{Args: []string{"sleep", "1000"}})
			h.MustRun(t, "sh", "-ec", `
				echo >/etc/left; mkdir -m 0700 /var/lib/left; mkfifo /run/left
				mkdir /mnt/left; mount -t tmpfs left /mnt/left
				ip link add left type veth peer name right
				ip route add blackhole 198.51.100.0/24
				nft add table ip left`)
			diff := Diff(before, h.Snapshot(t))
			for _, want := range []string{
				"file /etc/left:", "file /var/lib/left: d", "file /run/left: p", "mount /mnt/left:",
				"link left:", "route 198.51.100.0/24", "nft ip left:", "process sleep 1000:",
			} {
				if !strings.Contains(diff, "+ "+want) {
					t.Errorf("%q is not noticed in\n%s", want, diff)
				}
			}
			if err := sleeper.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			sleeper.Wait(t, 5*time.Second)
			h.MustRun(t, "sh", "-ec", `
				umount /mnt/left; ip link del left; ip route del blackhole 198.51.100.0/24; nft delete table ip left
				rm -r /etc/left /var/lib/left /run/left /mnt/left`)
			if diff := h.Settled(t, before, 5*time.Second); diff != "" {
				t.Errorf("all is as it was, and yet\n%s", diff)
			}
		})
	}
}

func TestCommandsReportHowTheyEnd(t *testing.T) {
	h := StartDirect(t, Options{})
	for _, c := range []struct {
		name    string
		command Command
		want    Result
	}{
		{"output and status", Command{Args: []string{"sh", "-c", "echo a; echo b >&2; exit 7"}}, Result{Stdout: "a\n", Stderr: "b\n", Exit: 7}},
		{"input", Command{Args: []string{"cat"}, Stdin: "text"}, Result{Stdout: "text"}},
		{"environment", Command{Args: []string{"sh", "-c", "echo $HOME$EXTRA$SSH_AUTH_SOCK"}, Env: []string{"EXTRA=!"}}, Result{Stdout: "/root!\n"}},
		{"a signal", Command{Args: []string{"sh", "-c", "kill -TERM $$"}}, Result{Exit: 143}},
		{"output held open", Command{Args: []string{"sh", "-c", "sleep 60 & echo done"}}, Result{Stdout: "done\n", Held: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, h.RunCommand(t, c.command)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// doomed makes this test binary start a host and then wait to be killed.
const doomed = "NSPAWN_BUILD_TEST_DOOMED"

func TestAKilledTestProcessLeavesNothing(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			if os.Getenv(doomed) == kind.name {
				h := kind.start(t, Options{})
				h.Start(t, Command{Args: []string{"sleep", "1000"}})
				fmt.Printf("host %s %d\n", h.name, h.leader)
				time.Sleep(time.Minute)
				return
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
			cmd.Env = append(os.Environ(), doomed+"="+kind.name)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var name string
			var leader int
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				if n, _ := fmt.Sscanf(lines.Text(), "host %s %d", &name, &leader); n == 2 {
					break
				}
			}
			if leader == 0 {
				t.Fatal("the other test process started no host")
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				if _, err := os.Stat(fmt.Sprintf("/proc/%d", leader)); errors.Is(err, os.ErrNotExist) {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the host of a dead test process lives on")
				}
			}
			// The next host to start removes what is on disk.
			_, release, err := ownDirectory()
			if err != nil {
				t.Fatal(err)
			}
			release()
			left, err := filepath.Glob("/sys/fs/cgroup/*/" + cgroupPrefix + name)
			if err != nil || len(left) > 0 {
				t.Errorf("cgroups are left: %q, %v", left, err)
			}
			if _, err := os.Stat(filepath.Join(cacheRoot(), "run", name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the tree is left: %v", err)
			}
		})
	}
}

func TestRemovingATreeNeverCrossesAMount(t *testing.T) {
	Require(t)
	dir, precious := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(precious, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "tree", "dev")
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(precious, target, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	err := removeTree(filepath.Join(dir, "tree"))
	if unmountErr := unix.Unmount(target, 0); unmountErr != nil {
		t.Fatal(unmountErr)
	}
	if err == nil || !strings.Contains(err.Error(), "mounted") {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, err := os.Stat(filepath.Join(precious, "file")); err != nil {
		t.Errorf("what was mounted there was emptied: %v", err)
	}
}

func TestACommandIsKilledInTheMomentItSaysTheWord(t *testing.T) {
	h := StartDirect(t, Options{})
	p := h.Start(t, Command{
		Args:   []string{"sh", "-c", "echo one >&2; echo two >&2; sleep 60; echo three >&2"},
		KillOn: regexp.MustCompile("two"),
	})
	if r := p.Wait(t, 10*time.Second); r.Exit != 137 || r.Stderr != "one\ntwo\n" {
		t.Errorf("it ended otherwise: %s", r)
	}
}
