//go:build integration

package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// limited is what set prints with --output json.
type limited struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
	Changed bool   `json:"changed"`
	Limits  []struct {
		Limit, Before, After, Kernel, NotHeld string
	} `json:"limits"`
}

// set changes limits. Hosts of tests are shown cgroups without controllers
// where this machine's are legacy ones: then a limit that was given is said not
// to hold, with status 3. What a kernel makes of limits is a matter of make vm.
func set(t *testing.T, h *testhost.Host, bounds bool, args ...string) limited {
	t.Helper()
	r := h.Run(t, append([]string{"nspawn-build", "set", "box", "--output", "json"}, args...)...)
	exit := exitDone
	if bounds && !enforces(t, h) {
		exit = exitHost
		if !strings.Contains(r.Stderr, "controller") || !strings.Contains(r.Stderr, "hint:") {
			t.Errorf("it is not said that the host lacks controllers: %s", r)
		}
	}
	want(t, exit, r)
	var l limited
	if err := json.Unmarshal([]byte(r.Stdout), &l); err != nil {
		t.Fatalf("set did not print JSON: %v: %s", err, r)
	}
	return l
}

// enforces tells whether the host has what limits need.
func enforces(t *testing.T, h *testhost.Host) bool {
	t.Helper()
	have := strings.Fields(h.Run(t, "cat", "/sys/fs/cgroup/cgroup.controllers").Stdout)
	return slices.Contains(have, "memory") && slices.Contains(have, "pids") && slices.Contains(have, "cpu")
}

// property is one of the machine's service as the service manager has it now.
func property(t *testing.T, h *testhost.Host, name string) string {
	t.Helper()
	return strings.TrimSpace(h.MustRun(t, "systemctl", "show", "--value", "--property", name, "systemd-nspawn@box.service"))
}

// properties compares several; on a host without systemd there are none.
func properties(t *testing.T, h *testhost.Host, wanted map[string]string) {
	t.Helper()
	if !h.Systemd() {
		return
	}
	for name, value := range wanted {
		if got := property(t, h, name); got != value {
			t.Errorf("the service manager has %s=%s, want %s", name, got, value)
		}
	}
}

const (
	dropIn         = "/etc/systemd/system/systemd-nspawn@box.service.d/50-nspawn-build.conf"
	controlForGood = "/etc/systemd/system.control/systemd-nspawn@box.service.d"
	controlForNow  = "/run/systemd/system.control/systemd-nspawn@box.service.d"
)

func TestLimitsAreChangedWhileAMachineRunsAndKept(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			m := create(t, h, fixture("box", "--memory-max", "1G")...)
			boot := ssh(t, h, "root@"+m.Address.String(), "cat /proc/sys/kernel/random/boot_id").Stdout

			l := set(t, h, true, "--memory-max", "512M", "--memory-high", "400M", "--cpu-quota", "200%", "--tasks-max", "500", "--io-weight", "50")
			if !l.Changed || !l.Running || len(l.Limits) != 5 || l.Limits[1].Before != "1G" || l.Limits[1].After != "512M" {
				t.Errorf("set says %+v", l)
			}
			properties(t, h, map[string]string{
				"MemoryMax": "536870912", "MemoryHigh": "419430400", "CPUQuotaPerSecUSec": "2s", "TasksMax": "500", "IOWeight": "50",
				"NeedDaemonReload": "no",
			})
			if r := set(t, h, true, "--memory-max", "512M"); r.Changed {
				t.Errorf("the second time it changed something: %+v", r)
			}
			if now := ssh(t, h, "root@"+m.Address.String(), "cat /proc/sys/kernel/random/boot_id").Stdout; now != boot || now == "" {
				t.Errorf("it was booted again: %q, before %q", now, boot)
			}
			// No file but the one that is ours.
			for _, dir := range []string{controlForGood, controlForNow} {
				if h.Exists(t, dir) {
					t.Errorf("%s was left", dir)
				}
			}

			t.Run("create takes them for the machine's spec", func(t *testing.T) {
				args := []string{"--memory-max", "512M", "--memory-high", "400M", "--cpu-quota", "200%", "--tasks-max", "500", "--io-weight", "50"}
				if again := create(t, h, fixture("box", args...)...); again.Changed {
					t.Errorf("with the new spec something was changed: %+v", again)
				}
				r := want(t, exitExists, h.Run(t, fixture("box", "--memory-max", "1G")...))
				if !strings.Contains(r.Stderr, "limits.memoryMax: 536870912, now 1073741824") {
					t.Errorf("with the old spec it does not say what differs: %s", r)
				}
			})

			t.Run("infinity lifts, and unset leaves them to the host", func(t *testing.T) {
				set(t, h, false, "--memory-max", "infinity", "--unset", "memory-high,cpu-quota", "--io-weight", "")
				properties(t, h, map[string]string{
					"MemoryMax": "infinity", "MemoryHigh": "infinity", "CPUQuotaPerSecUSec": "infinity", "IOWeight": "[not set]", "TasksMax": "500",
				})
				status := want(t, exitDone, h.Run(t, "nspawn-build", "status", "box"))
				if !strings.Contains(status.Stdout, "MemoryMax=infinity, TasksMax=500") {
					t.Errorf("status: %s", status)
				}
			})

			t.Run("a machine that is off has them when it starts", func(t *testing.T) {
				h.MustRun(t, "nspawn-build", "stop", "box")
				if l := set(t, h, true, "--memory-max", "600M"); l.Running || !l.Changed {
					t.Errorf("set says %+v", l)
				}
				properties(t, h, map[string]string{"MemoryMax": "629145600"})
				h.MustRun(t, "nspawn-build", "start", "box")
				properties(t, h, map[string]string{"MemoryMax": "629145600", "TasksMax": "500"})
			})

			t.Run("nothing is left of limits that were all unset", func(t *testing.T) {
				set(t, h, false, "--unset", "memory-max", "--unset", "tasks-max")
				if h.Exists(t, dropIn) {
					t.Errorf("%s: %s", dropIn, h.ReadFile(t, dropIn))
				}
				properties(t, h, map[string]string{"MemoryMax": "infinity", "TasksMax": "16384", "NeedDaemonReload": "no"})
			})
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}

// What a crash leaves between the record, the drop-in and the service manager
// is put right by the same command.
func TestAChangeOfLimitsThatWasCutOffIsMadeGoodByDoingItAgain(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	create(t, h, fixture("box", "--memory-max", "1G", "--no-boot")...)
	h.MustRun(t, "systemctl", "start", "systemd-nspawn@box.service")
	set(t, h, true, "--memory-max", "512M")
	for name, damage := range map[string]string{
		"after the record":  "sed -i s/536870912/1073741824/ " + dropIn + " && systemctl daemon-reload",
		"after the drop-in": "sed -i s/536870912/1073741824/ " + dropIn + " && systemctl daemon-reload && sed -i s/1073741824/536870912/ " + dropIn,
		"removed by hand":   "rm " + dropIn + " && systemctl daemon-reload",
	} {
		t.Run(name, func(t *testing.T) {
			h.MustRun(t, "sh", "-c", damage)
			if got := property(t, h, "MemoryMax"); got == "536870912" {
				t.Fatalf("the damage was not done: %s", got)
			}
			if l := set(t, h, true, "--memory-max", "512M"); !l.Changed {
				t.Errorf("set says %+v", l)
			}
			properties(t, h, map[string]string{"MemoryMax": "536870912", "NeedDaemonReload": "no"})
		})
	}
	t.Run("and create does it as well", func(t *testing.T) {
		h.MustRun(t, "sh", "-c", "rm "+dropIn+" && systemctl daemon-reload")
		create(t, h, fixture("box", "--memory-max", "512M", "--no-boot")...)
		properties(t, h, map[string]string{"MemoryMax": "536870912"})
	})
}

func TestWhatSetPropertyLeftGoesWithTheMachine(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	// Of another unit, and there before: both stay.
	h.MustRun(t, "systemctl", "set-property", "systemd-logind.service", "CPUWeight=50")
	h.MustRun(t, "systemctl", "set-property", "--runtime", "systemd-logind.service", "MemoryHigh=1G")
	before := h.Snapshot(t)
	// Left by a machine of that name that was removed in another way.
	h.MustRun(t, "systemctl", "set-property", "systemd-nspawn@box.service", "MemoryMax=700M")
	if r := want(t, exitDone, h.Run(t, fixture("box", "--tasks-max", "500")...)); !strings.Contains(r.Stderr, controlForGood+"/50-MemoryMax.conf") {
		t.Errorf("what is left of another machine is not named: %s", r)
	}
	own := "/etc/systemd/system/systemd-nspawn@box.service.d/90-mine.conf"
	h.WriteFile(t, own, "[Service]\nMemoryHigh=900M\n", "0644")
	h.MustRun(t, "systemctl", "set-property", "--runtime", "systemd-nspawn@box.service", "CPUQuota=70%")

	t.Run("status and set say which file has the last word", func(t *testing.T) {
		r := want(t, exitHost, h.Run(t, "nspawn-build", "set", "box", "--memory-high", "800M"))
		if !strings.Contains(r.Stderr, own) {
			t.Errorf("%s is not named: %s", own, r)
		}
		status := want(t, exitDone, h.Run(t, "nspawn-build", "status", "box"))
		for _, file := range []string{own, controlForGood + "/50-MemoryMax.conf", controlForNow + "/50-CPUQuota.conf"} {
			if !strings.Contains(status.Stdout, file) {
				t.Errorf("%s is not named: %s", file, status)
			}
		}
	})
	destroy(t, h, "box")
	for _, dir := range []string{controlForGood, controlForNow} {
		if h.Exists(t, dir) {
			t.Errorf("%s is left: %s", dir, h.Run(t, "ls", "-l", dir))
		}
	}
	// Neither made by us nor by set-property.
	if !h.Exists(t, own) {
		t.Errorf("%s was removed", own)
	}
	h.MustRun(t, "rm", "-r", own, "/etc/systemd/system/systemd-nspawn@box.service.d")
	h.MustRun(t, "systemctl", "daemon-reload")

	t.Run("and no stale limit holds for a machine of the same name", func(t *testing.T) {
		create(t, h, fixture("box")...)
		properties(t, h, map[string]string{"MemoryMax": "infinity", "CPUQuotaPerSecUSec": "infinity", "TasksMax": "16384"})
		destroy(t, h, "box")
	})
	nothingLeft(t, h, before)
}

// TestBandwidthIsThatOfTheDiskOfTheTree needs a tree on a disk; where a test
// host is on none, that is said.
func TestBandwidthIsThatOfTheDiskOfTheTree(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	before := h.Snapshot(t)
	odd := `/srv/100% "odd" tree`
	create(t, h, fixture("box", "--directory", odd, "--no-boot")...)
	r := want(t, exitHost, h.Run(t, "nspawn-build", "set", "box", "--io-bandwidth", "50M"))
	if !strings.Contains(r.Stderr, "io-bandwidth: ") || !strings.Contains(r.Stderr, "controller") && !strings.Contains(r.Stderr, "which no single disk holds") {
		t.Errorf("it is not said why: %s", r)
	}
	// The service manager reads the path as it was written.
	for _, p := range []string{"IOReadBandwidthMax", "IOWriteBandwidthMax"} {
		if got := property(t, h, p); !strings.Contains(got, odd+"/box 52428800") {
			t.Errorf("the service manager has %s=%q", p, got)
		}
	}
	want(t, exitDone, h.Run(t, "nspawn-build", "set", "box", "--unset", "io-bandwidth"))
	if got := property(t, h, "IOReadBandwidthMax"); got != "" {
		t.Errorf("unset, and there is still %q", got)
	}
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}
