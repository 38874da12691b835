//go:build integration

package testhost

import (
	"strings"
	"testing"
	"time"
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
			// The source of every packet but those that the outside answers.
			if r := h.Run(t, "ping", "-c1", "-W1", "198.51.100.1"); r.Exit == 0 {
				t.Errorf("an address that nobody has answers: %s", r)
			}
			h.MustRun(t, "apt-get", "update", "-o", "APT::Update::Error-Mode=any")
		})
	}
}

func TestHostStartsAMachineThatReachesTheOutside(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := kind.start(t, Options{})
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
		})
	}
}

// startMachine starts the machine m as each kind of host would.
func startMachine(t *testing.T, h *Host) {
	t.Helper()
	if h.Systemd() {
		h.MustRun(t, "machinectl", "start", "m")
		return
	}
	h.Start(t, Command{Args: []string{"sh", "-c", `
		for h in systemd unified; do mkdir /sys/fs/cgroup/$h/m && echo $$ >/sys/fs/cgroup/$h/m/cgroup.procs || exit 1; done
		exec systemd-nspawn --quiet --register=no --keep-unit --link-journal=no -U --network-veth --boot -M m -D /var/lib/machines/m`}})
}
