//go:build integration

package integration

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// debian is the command line of the issue, with another release.
func debian(release, name string, more ...string) []string {
	return append([]string{"nspawn-build", "--distro", "debian", "--release", release, name}, more...)
}

func TestOneCommandMakesADebianMachineThatOneCanLogInTo(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.Start(t, testhost.Options{Suite: "trixie"}))
	before := h.Snapshot(t)

	m1 := create(t, h, debian("trixie", "m1", "--memory-max", "512M", "--cpu-quota", "50%")...)
	t.Run("the first machine has the first address of the pool", func(t *testing.T) {
		if m1.Address != netip.MustParseAddr("192.168.200.200") {
			t.Errorf("it has %s", m1.Address)
		}
	})
	t.Run("machinectl knows it", func(t *testing.T) {
		if got := h.MustRun(t, "machinectl", "list", "--no-legend"); !strings.HasPrefix(got, "m1 ") {
			t.Errorf("machinectl lists %q", got)
		}
		if got := h.MustRun(t, "readlink", "-f", "/var/lib/machines/m1"); strings.TrimSpace(got) != "/root/containers/m1" {
			t.Errorf("its tree is %q", got)
		}
	})
	t.Run("it is up, reachable and reaches the outside", func(t *testing.T) { checkMachine(t, h, m1) })
	t.Run("the service manager holds its limits", func(t *testing.T) {
		got := h.MustRun(t, "systemctl", "show", "systemd-nspawn@m1.service", "-p", "MemoryMax", "-p", "CPUQuotaPerSecUSec")
		if !strings.Contains(got, "MemoryMax=536870912\n") || !strings.Contains(got, "CPUQuotaPerSecUSec=500ms\n") {
			t.Errorf("it says\n%s", got)
		}
	})
	t.Run("a package can be installed in it", func(t *testing.T) {
		r := ssh(t, h, "root@"+m1.Address.String(), "apt-get update -qq -o APT::Update::Error-Mode=any && apt-get install -qq -y hello >/dev/null && hello")
		if r.Exit != 0 || !strings.Contains(r.Stdout, "Hello") {
			t.Error(r)
		}
	})

	const password = "correct horse 17 battery"
	r := want(t, exitDone, h.RunInput(t, password+"\n", debian("bookworm", "m2", "--password-stdin", "--ssh-key", "/root/.ssh/id_ed25519.pub")...))
	t.Run("a second machine has the next subnet and runs beside the first", func(t *testing.T) {
		m2 := created{Name: "m2", Address: netip.MustParseAddr("192.168.201.200")}
		if !strings.Contains(r.Stdout, m2.Address.String()) {
			t.Errorf("create does not name the address %s: %s", m2.Address, r)
		}
		checkMachine(t, h, m2)
		checkMachine(t, h, m1)
	})
	t.Run("the password logs in, and no other does", func(t *testing.T) {
		login := func(password string) testhost.Result {
			return h.RunCommand(t, testhost.Command{
				Env: []string{"SSHPASS=" + password},
				Args: []string{
					"sshpass", "-e", "ssh", "-o", "StrictHostKeyChecking=yes", "-o", "PubkeyAuthentication=no",
					"-o", "PreferredAuthentications=password", "root@192.168.201.200", "id", "-un",
				},
			})
		}
		if r := login(password); r.Exit != 0 || r.Stdout != "root\n" {
			t.Errorf("the password does not log in: %s", r)
		}
		if r := login("wrong"); r.Exit != 5 {
			t.Errorf("a wrong password: want exit 5, got %s", r)
		}
	})
	t.Run("it is the release that was asked for", func(t *testing.T) {
		for address, release := range map[string]string{"192.168.200.200": "trixie", "192.168.201.200": "bookworm"} {
			if got := ssh(t, h, "root@"+address, ". /etc/os-release; echo $VERSION_CODENAME"); got.Stdout != release+"\n" {
				t.Errorf("%s: %s", release, got)
			}
		}
	})
	t.Run("the same command again changes nothing and says so", func(t *testing.T) {
		running := h.Calm(t)
		r := want(t, exitDone, h.Run(t, debian("trixie", "m1", "--memory-max", "512M", "--cpu-quota", "50%")...))
		if !strings.Contains(r.Stdout+r.Stderr, "already") {
			t.Errorf("it does not say that the machine is there already: %s", r)
		}
		if diff := h.Settled(t, running, 5*time.Second); diff != "" {
			t.Errorf("it changed\n%s", diff)
		}
	})
	t.Run("destroyed, they leave nothing", func(t *testing.T) {
		destroy(t, h, "m1")
		destroy(t, h, "m2")
		nothingLeft(t, h, before)
	})
}

func TestAMachineOfUnstableRunsOnAHostOfOldstable(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.Start(t, testhost.Options{Suite: "bookworm"}))
	before := h.Snapshot(t)
	checkMachine(t, h, create(t, h, debian("bookworm", "old")...))
	checkMachine(t, h, create(t, h, debian("sid", "new")...))
	destroy(t, h, "old")
	destroy(t, h, "new")
	nothingLeft(t, h, before)
}

func TestADebianMachineLivesOnAHostWithoutSystemd(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	m := create(t, h, debian("trixie", "m1")...)
	checkMachine(t, h, m)
	h.MustRun(t, "ping", "-c1", "-W2", m.Address.String())
	t.Run("exec returns what the command returns", func(t *testing.T) {
		r := h.RunInput(t, "in\n", "nspawn-build", "exec", "m1", "--", "sh", "-c", "cat; echo err >&2; exit 42")
		if r.Exit != 42 || r.Stdout != "in\n" || r.Stderr != "err\n" {
			t.Error(r)
		}
	})
	t.Run("it stops, and starts again as the same machine", func(t *testing.T) {
		id := ssh(t, h, "root@"+m.Address.String(), "cat /etc/machine-id").Stdout
		want(t, exitDone, h.Run(t, "nspawn-build", "stop", "m1"))
		if r := h.Run(t, "pgrep", "-x", "systemd-nspawn"); r.Exit == 0 {
			t.Errorf("it was stopped, and yet runs: %s", r)
		}
		want(t, exitBoot, h.Run(t, "nspawn-build", "exec", "m1", "true"))
		want(t, exitDone, h.Run(t, "nspawn-build", "start", "m1"))
		checkMachine(t, h, m)
		if again := ssh(t, h, "root@"+m.Address.String(), "cat /etc/machine-id").Stdout; again != id || len(id) != 33 {
			t.Errorf("its identity was %q and is %q", id, again)
		}
	})
	destroy(t, h, "m1")
	nothingLeft(t, h, before)
}
