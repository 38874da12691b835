//go:build integration

package direct

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/driver"
	"github.com/nspawn-build/nspawn-build/core/driver/cgroup"
	"github.com/nspawn-build/nspawn-build/core/driver/treetest"
)

func TestKilledSupervisorPowersTheMachineOffInOrder(t *testing.T) {
	b := newBench(t)
	b.tree.Service(t, "witness",
		"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nExecStop=/bin/sh -c 'echo orderly >/witness'\n[Install]\nWantedBy=multi-user.target\n")
	leader := b.start().Leader
	b.inside("systemctl", "is-active", "witness.service")
	f, err := b.files(b.machine.Name)
	if err != nil {
		t.Fatal(err)
	}
	s, running, err := f.supervised()
	if err != nil || !running {
		t.Fatal(running, err)
	}
	if err := syscall.Kill(s.Supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until("the machine is off", func() bool { return syscall.Kill(leader, 0) != nil })
	if text, err := os.ReadFile(filepath.Join(b.tree.Path, "witness")); err != nil || string(text) != "orderly\n" {
		t.Errorf("its services were not stopped: %q, %v", text, err)
	}
	b.start() // clears away what was left
	b.stop(20 * time.Second)
	b.nothingIsLeft()
}

func TestStartRightAfterTheSupervisorWasKilled(t *testing.T) {
	b := newBench(t)
	first := b.start()
	b.inside("systemctl", "is-system-running", "--wait")
	f, err := b.files(b.machine.Name)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := f.supervised()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until("its lock is free", func() bool { running, err := held(f.lock()); return err == nil && !running })
	if second := b.start(); second.Leader == first.Leader {
		t.Error("the same leader")
	}
	b.inside("systemctl", "is-system-running", "--wait")
}

func TestKilledNspawnEndsEverything(t *testing.T) {
	b := newBench(t)
	leader := b.start().Leader
	out, err := exec.Command("pgrep", "-f", "^[^ ]*systemd-nspawn .*--machine=my-box[.]1").Output()
	if err != nil {
		t.Fatal(err)
	}
	treetest.Run(t, append([]string{"kill", "-KILL"}, strings.Fields(string(out))...)...)
	b.until("the machine is off", func() bool { return syscall.Kill(leader, 0) != nil })
	b.until("stopped", func() bool { return b.status().State == driver.Stopped })
	b.stop(time.Second)
	b.nothingIsLeft()
}

func TestTreeWithoutInitIsSaidToHaveNone(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"sbin/init", "usr/lib/systemd/systemd"} {
		path := filepath.Join(b.tree.Path, name)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Rename(path+".away", path); err != nil {
				t.Error(err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := b.Start(ctx, b.machine)
	if !errors.Is(err, driver.ErrEnded) || !strings.Contains(err.Error(), "execv") {
		t.Errorf("got %v", err)
	}
	if lines, err := b.Console(ctx, b.machine.Name, 10); err != nil || len(lines) == 0 {
		t.Errorf("console: %q, %v", lines, err)
	}
	t.Log(err)
}

func TestStubbornMachineIsEndedByForceWhenGraceIsOver(t *testing.T) {
	b := newBench(t)
	b.tree.Service(t, "stubborn",
		"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nExecStop=sleep 300\nTimeoutStopSec=infinity\n[Install]\nWantedBy=multi-user.target\n")
	b.start()
	b.inside("systemctl", "is-active", "stubborn.service")
	begin := time.Now()
	b.stop(2 * time.Second)
	if took := time.Since(begin); took < 2*time.Second || took > 8*time.Second {
		t.Errorf("took %v, the grace was 2 s", took)
	}
	b.nothingIsLeft()
}

func TestSettingsBesideTheTreeAreNotRead(t *testing.T) {
	b := newBench(t)
	t.Cleanup(func() { _ = os.Remove(filepath.Join(filepath.Dir(b.tree.Path), "my-box.1.nspawn")) })
	beside := filepath.Join(filepath.Dir(b.tree.Path), b.machine.Name+".nspawn")
	if err := os.WriteFile(beside, []byte("[Exec]\nEnvironment=SETTINGS=evil\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.start()
	// Init keeps what it was started with, where a host name would soon be
	// the one of /etc/hostname.
	if got := b.inside("cat", "/proc/1/environ"); strings.Contains(got, "SETTINGS=") {
		t.Error("the settings beside the tree were read")
	}
}

func TestTrustedSettingsAreRead(t *testing.T) {
	b := newBench(t)
	// The test's mount namespace is its own. What is mounted over is there on
	// every host with systemd.
	const etc = "/etc/systemd"
	treetest.Run(t, "mount", "-t", "tmpfs", "tmpfs", etc)
	t.Cleanup(func() { treetest.Run(t, "umount", etc) })
	if err := os.Mkdir(etc+"/nspawn", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(etc+"/nspawn/my-box.1.nspawn", []byte("[Exec]\nEnvironment=SETTINGS=trusted\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.start()
	if got := b.inside("cat", "/proc/1/environ"); !strings.Contains(got, "SETTINGS=trusted") {
		t.Errorf("init was started with %q", got)
	}
}

func TestHangupOfTheSupervisorMeansNothing(t *testing.T) {
	b := newBench(t)
	first := b.start()
	f, err := b.files(b.machine.Name)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := f.supervised()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Supervisor, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	b.inside("systemctl", "is-system-running", "--wait")
	if now := b.status(); now.Leader != first.Leader {
		t.Errorf("got %+v, was %+v", now, first)
	}
}

func TestManyStartsAtOnceMakeOneMachine(t *testing.T) {
	b := newBench(t)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := b.Start(ctx, b.machine); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	out, err := exec.Command("pgrep", "-fc", "^[^ ]*systemd-nspawn .*--machine=my-box[.]1").Output()
	if err != nil || strings.TrimSpace(string(out)) != "1" {
		t.Errorf("%s systemd-nspawn run, %v", out, err)
	}
	for range 5 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := b.Stop(ctx, b.machine, 20*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	b.nothingIsLeft()
}

func TestSupervisorThatHangsIsPassedOver(t *testing.T) {
	b := newBench(t)
	leader := b.start().Leader
	b.inside("systemctl", "is-system-running", "--wait")
	f, err := b.files(b.machine.Name)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := f.supervised()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Supervisor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	b.stop(time.Second)
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
	if syscall.Kill(leader, 0) == nil {
		t.Error("the machine still runs")
	}
	b.nothingIsLeft()
}

func TestWhatIsLeftInTheGroupDoesNotKeepAMachineFromRebooting(t *testing.T) {
	b := newBench(t)
	first := b.start()
	b.inside("systemctl", "is-system-running", "--wait")
	host, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	left := exec.Command("sleep", "infinity")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = left.Process.Kill() }() // it may be gone
	for _, root := range host.Roots() {
		dir := filepath.Join(root, groupName(b.machine.Name), "left")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(left.Process.Pid)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.inside("systemctl", "reboot")
	b.until("another leader", func() bool {
		s := b.status()
		return s.State == driver.Running && s.Leader != first.Leader
	})
	if err := left.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("what was left ended otherwise: %v", err)
	}
}
