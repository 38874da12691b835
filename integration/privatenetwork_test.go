//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

func TestAMachineWithoutALinkIsEnteredFromTheHostAlone(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.MustRun(t, "rm", "-r", "/root/.ssh") // nobody has to be able to log in
			if h.Systemd() {
				h.MustRun(t, "systemctl", "stop", "systemd-networkd.socket", "systemd-networkd.service")
			}
			before := h.Calm(t)
			r := want(t, exitDone, h.Run(t, fixture("box", "--private-network")...))
			for _, word := range []string{"without a link there is no SSH", "box is up", "nspawn-build shell box"} {
				if !strings.Contains(r.Stdout+r.Stderr, word) {
					t.Errorf("it does not say %q: %s", word, r)
				}
			}
			if r := inMachine(t, h, "box", "systemctl is-system-running; ls /sys/class/net; cat /proc/net/route | wc -l"); r.Stdout != "running\nlo\n1\n" {
				t.Errorf("it has more than loopback, or is not up: %s", r)
			}
			for _, file := range []string{"/etc/systemd/network/50-ve-box.network", "/etc/ssh/ssh_config.d/50-nspawn-build.conf", "/etc/nspawn-build/known_hosts"} {
				if h.Exists(t, file) {
					t.Errorf("there is %s", file)
				}
			}
			if got := h.MustRun(t, "sh", "-c", "ip -o link | grep -c ve-; true"); got != "0\n" {
				t.Errorf("it has a link on the host: %s", got)
			}
			for _, argv := range [][]string{{"list"}, {"status", "box"}} {
				r := want(t, exitDone, h.Run(t, append([]string{"nspawn-build"}, argv...)...))
				if !strings.Contains(r.Stdout, "box") || !strings.Contains(r.Stdout, "running") || strings.Contains(r.Stdout, "invalid") {
					t.Errorf("%s says %s", argv, r)
				}
			}
			if r := want(t, exitHost, h.Run(t, "nspawn-build", "ssh", "box")); !strings.Contains(r.Stderr, "--private-network") {
				t.Errorf("ssh does not say why: %s", r)
			}
			want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
			want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
			if r := want(t, exitDone, h.Run(t, fixture("box", "--private-network")...)); !strings.Contains(r.Stdout, "already") {
				t.Errorf("the same command again changes something: %s", r)
			}
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}

// A machine without a link takes no address from those that have one.
func TestAMachineWithoutALinkTakesNoAddress(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	create(t, h, fixture("none", "--private-network", "--no-boot")...)
	m := create(t, h, fixture("box")...)
	if m.Address.String() != "192.168.200.200" {
		t.Errorf("the first with a link has %s", m.Address)
	}
	checkMachine(t, h, m)
	if got := h.ReadFile(t, "/etc/ssh/ssh_config.d/50-nspawn-build.conf"); strings.Contains(got, "none") {
		t.Errorf("ssh knows it:\n%s", got)
	}
}
