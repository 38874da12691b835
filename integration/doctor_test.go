//go:build integration

package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// exitUnreachable is that of a machine that runs and cannot be worked with.
const exitUnreachable = 7

// finding is one of doctor's.
type finding struct {
	ID       string `json:"id"`
	Machine  string `json:"machine"`
	Severity string `json:"severity"`
	What     string `json:"what"`
	Why      string `json:"why"`
	Fix      string `json:"fix"`
	Fixable  bool   `json:"fixable"`
}

// examined is what doctor prints with --output json.
type examined struct {
	Findings []finding `json:"findings"`
	Exit     int       `json:"exit"`
}

// wrong are the findings that are errors or warnings.
func (e examined) wrong() []finding {
	return slices.DeleteFunc(slices.Clone(e.Findings), func(f finding) bool { return f.Severity != "error" && f.Severity != "warning" })
}

// examine runs doctor.
func examine(t *testing.T, h *testhost.Host, args ...string) examined {
	t.Helper()
	r := h.Run(t, append([]string{"nspawn-build", "doctor", "--output", "json"}, args...)...)
	var e examined
	if err := json.Unmarshal([]byte(r.Stdout), &e); err != nil {
		t.Fatalf("doctor did not print JSON: %v: %s", err, r)
	}
	if e.Exit != r.Exit {
		t.Errorf("doctor says that it exits %d and exits %d", e.Exit, r.Exit)
	}
	return e
}

// healthy waits until doctor finds nothing wrong but what the host itself
// lacks: a service that was just started takes a moment.
func healthy(t *testing.T, h *testhost.Host, args ...string) {
	t.Helper()
	var left []finding
	for range 8 {
		e := examine(t, h, args...)
		left = slices.DeleteFunc(e.wrong(), func(f finding) bool {
			return f.ID == "machine.limits" && strings.Contains(f.What, "not enforced on this host")
		})
		if len(left) == 0 && e.Exit == exitDone {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Errorf("doctor is not content: %+v", left)
}

// fault is something that goes wrong, and what doctor is to say of it.
type fault struct {
	name   string
	inject string // a shell command
	id     string
	about  string // the machine; empty for the host
	says   string // a piece of what is said
	exit   int    // with which doctor ends
	fix    string // a piece of the command that mends it
	tidy   string // a shell command that takes away what only the test made
}

// try injects a fault, has doctor name it, runs the command that doctor gives,
// and looks whether that helped.
func (f fault) try(t *testing.T, h *testhost.Host) {
	t.Run(f.name, func(t *testing.T) {
		h.MustRun(t, "sh", "-ec", f.inject)
		e := examine(t, h)
		at := slices.IndexFunc(e.Findings, func(g finding) bool {
			return g.ID == f.id && g.Machine == f.about && g.Severity != "ok" && strings.Contains(g.What, f.says)
		})
		if at < 0 {
			t.Fatalf("doctor does not find it; it finds %+v", e.wrong())
		}
		got := e.Findings[at]
		t.Logf("%s: %s\nwhy: %s\nfix: %s", got.Severity, got.What, got.Why, got.Fix)
		if e.Exit != f.exit {
			t.Errorf("doctor exits %d and not %d; it finds %+v", e.Exit, f.exit, e.wrong())
		}
		if !strings.Contains(got.Fix, f.fix) || got.Fix == "" {
			t.Fatalf("the command is %q and not %q", got.Fix, f.fix)
		}
		if r := h.Run(t, "sh", "-ec", got.Fix); r.Exit != 0 && !got.Fixable {
			t.Fatalf("the command does not run: %s", r)
		}
		if f.tidy != "" {
			h.MustRun(t, "sh", "-ec", f.tidy)
		}
		healthy(t, h)
	})
}

const (
	tree  = "/root/containers/box"
	fixIt = "nspawn-build doctor --fix box"
)

// The machine that the faults are tried on, by the systemd driver.
var patient = fixture("box", "--dns", "host", "--memory-max", "512M", "--tasks-max", "2000")

// faults are those of a systemd host with the machine box.
var faults = []fault{
	{
		name: "networkd stopped", inject: "systemctl stop systemd-networkd.socket systemd-networkd.service",
		id: "host.networkd", says: "systemd-networkd.service does not run", exit: exitHost, fix: "systemctl enable --now systemd-networkd.service",
	},
	{
		name: "forward drop", inject: `nft add table inet wall && nft add chain inet wall keep '{ type filter hook forward priority 0; policy drop; }'`,
		id: "host.firewall", says: "chain keep of table inet wall", exit: exitHost, fix: "nft insert rule inet wall keep", tidy: "nft delete table inet wall",
	},
	{
		name: "resolved off", inject: "systemctl stop systemd-resolved.service",
		id: "host.resolved", says: "systemd-resolved.service does not run", exit: exitHost, fix: "systemctl enable --now systemd-resolved.service",
	},
	{
		name: "exposed tree", inject: "chmod 777 /root/containers",
		id: "host.exposed", says: "/root/containers", exit: exitHost, fix: "chmod 700 /root/containers",
	},
	{
		name: "broken sshd_config", inject: "sed -i '1iBogus yes' " + tree + "/etc/ssh/sshd_config",
		id: "machine.sshd-config", about: "box", says: "Bogus", exit: exitUnreachable, fix: "sed -i.broken -e '1s/^/#/;' /etc/ssh/sshd_config",
	},
	{
		name:   "broken sshd_config that sshd was restarted with",
		inject: "sed -i '1iBogus yes' " + tree + "/etc/ssh/sshd_config; ! nspawn-build exec box systemctl restart ssh.service",
		id:     "machine.sshd-config", about: "box", says: "Bogus", exit: exitUnreachable, fix: "systemctl restart",
	},
	{
		name: "address taken", inject: "ip link add rival type bridge && ip address add 192.168.200.77/24 dev rival && ip link set rival up",
		id: "machine.address-taken", about: "box", says: "192.168.200.77/24 on rival", exit: exitUnreachable,
		fix: "ip address delete 192.168.200.77/24 dev rival", tidy: "ip link delete rival",
	},
	{
		name: "link renamed", inject: "ip link set ve-box down && ip link set ve-box name elsewhere && ip link set elsewhere up",
		id: "machine.link", about: "box", says: "elsewhere", exit: exitUnreachable, fix: fixIt,
	},
	{
		name: "host key changed", inject: "rm " + tree + "/etc/ssh/ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N '' -f " + tree + "/etc/ssh/ssh_host_ed25519_key && nspawn-build exec box systemctl reset-failed && nspawn-build exec box systemctl restart ssh.service",
		id: "machine.host-key", about: "box", says: "host key", exit: exitUnreachable, fix: fixIt,
	},
	{
		name: "limits removed by hand", inject: "rm -r /etc/systemd/system/systemd-nspawn@box.service.d && systemctl daemon-reload",
		id: "machine.limits", about: "box", says: "50-nspawn-build.conf", exit: exitBoot, fix: fixIt,
	},
	{
		name: "limits changed behind our back", inject: "systemctl set-property systemd-nspawn@box.service TasksMax=7000",
		id: "machine.limits", about: "box", says: "TasksMax is 7000 instead of 2000", exit: exitBoot, fix: "rm -r /etc/systemd/system.control/systemd-nspawn@box.service.d",
	},
	{
		name: "orphan state",
		inject: `for dir in /etc/systemd/network/50-ve-gone.network /etc/systemd/nspawn/gone.nspawn \
				/etc/systemd/system/nspawn-build-link@gone.service; do
				echo '# Made by nspawn-build for machine gone.' >$dir; done
			mkdir -p /var/lib/nspawn-build/journal /run/nspawn-build/machines/gone
			echo '{}' >/var/lib/nspawn-build/journal/gone.jsonl
			mkdir -m 700 /root/containers/.nspawn-build-gone-ABCDEFGHIJKLMNOPQRSTUVWXYZ
			nft add table ip nspawn-build-gone`,
		id: "host.orphan", says: "has no machine", exit: exitDone, fix: "nspawn-build doctor --fix",
	},
	{
		name: "stale link", inject: "ln -s /root/containers/gone /var/lib/machines/gone",
		id: "host.stale-link", says: "/var/lib/machines/gone", exit: exitDone, fix: "rm /var/lib/machines/gone",
	},
	{
		name: "stale veth", inject: "ip link add ve-gone type veth peer name gone",
		id: "host.stale-link", says: "ve-gone", exit: exitDone, fix: "ip link delete ve-gone",
	},
	{
		name: "settings of a machine that is gone", inject: "systemctl set-property systemd-nspawn@gone.service TasksMax=7000",
		id: "host.orphan", says: "system.control", exit: exitDone, fix: "rm -r /etc/systemd/system.control/systemd-nspawn@gone.service.d",
		tidy: "rmdir /etc/systemd/system.control",
	},
	{
		name: "files of ours gone", inject: "rm /etc/systemd/network/50-ve-box.network /etc/systemd/nspawn/box.nspawn /var/lib/machines/box /etc/ssh/ssh_config.d/50-nspawn-build.conf && networkctl reload",
		id: "machine.image-link", about: "box", says: "/var/lib/machines/box", exit: exitBoot, fix: fixIt,
	},
	{
		name: "a file of somebody else in the place of ours", inject: "echo '# mine' >/etc/systemd/nspawn/box.nspawn",
		id: "machine.files", about: "box", says: "/etc/systemd/nspawn/box.nspawn", exit: exitBoot, fix: "mv /etc/systemd/nspawn/box.nspawn",
		tidy: "grep -q mine /etc/systemd/nspawn/box.nspawn.other && rm /etc/systemd/nspawn/box.nspawn.other",
	},
	{
		name: "a .network file that comes before ours", inject: `printf '[Match]\nName=ve-*\n[Network]\nDHCP=no\n' >/etc/systemd/network/10-all.network && networkctl reload && sleep 1`,
		id: "machine.network-file", about: "box", says: "/etc/systemd/network/10-all.network", exit: exitUnreachable,
		fix: "mv /etc/systemd/network/10-all.network /etc/systemd/network/95-all.network", tidy: "rm /etc/systemd/network/95-all.network && networkctl reload",
	},
	{
		name: "the address of the link removed", inject: "ip address flush dev ve-box",
		id: "machine.link", about: "box", says: "does not have the address", exit: exitUnreachable, fix: fixIt,
	},
	{
		name: "forwarding turned off", inject: "sysctl -qw net.ipv4.ip_forward=0",
		id: "host.forwarding", says: "box", exit: exitHost, fix: "sysctl -w net.ipv4.ip_forward=1",
	},
	{
		name: "keys that others may write", inject: "chmod 777 " + tree + "/root/.ssh",
		id: "machine.keys", about: "box", says: "/root/.ssh", exit: exitUnreachable, fix: "chmod go-w /root/.ssh",
	},
	{
		name: "a failed unit", inject: "printf '[Service]\\nType=oneshot\\nExecStart=test -e /run/glad\\n' >" + tree + "/etc/systemd/system/sad.service; nspawn-build exec box systemctl daemon-reload; ! nspawn-build exec box systemctl start sad.service; nspawn-build exec box touch /run/glad",
		id: "machine.failed-units", about: "box", says: "sad.service", exit: exitDone, fix: "systemctl restart sad.service",
	},
	{
		name: "plugins that others can change", inject: "chmod 777 /usr/local/lib/nspawn-build/plugins",
		id: "host.plugin-directory", says: "/usr/local/lib/nspawn-build/plugins", exit: exitHost, fix: "chmod go-w /usr/local/lib/nspawn-build/plugins",
	},
	{
		name: "no init in tree", inject: "nspawn-build stop box && rm " + tree + "/usr/lib/systemd/systemd && ! nspawn-build start box",
		id: "machine.init", about: "box", says: "no init", exit: exitBoot, fix: "nspawn-build destroy box && nspawn-build create",
	},
}

const keptTrees = "/var/cache/nspawn-build/rootfs"

// cacheFaults are those of the trees that are kept, of which the machine's is one.
var cacheFaults = []fault{
	{
		name: "a cached tree that is damaged", inject: "for f in " + keptTrees + "/*/tree.tar.zst; do printf damaged | dd of=$f bs=1 seek=5000 conv=notrunc; done",
		id: "host.cache", says: "1 of the trees that are kept cannot be used", exit: exitDone, fix: "nspawn-build doctor --fix",
	},
	{
		name: "a cached tree that is half made", inject: "mkdir -m 700 " + keptTrees + "/.new-ABCDEFGHIJKLMNOPQRSTUVWXYZ",
		id: "host.cache", says: "there are 1 half made", exit: exitDone, fix: "nspawn-build doctor --fix", tidy: "! ls -d " + keptTrees + "/.new-*",
	},
	{
		name: "cached trees that others can read", inject: "chmod 755 " + keptTrees,
		id: "host.cache", says: keptTrees + " is not a directory that root alone can come near", exit: exitDone, fix: "rm -r " + keptTrees,
	},
}

func TestDoctorFindsWhatIsWrongAndItsCommandsMendIt(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	before := h.Snapshot(t)
	healthy(t, h)
	m := create(t, h, patient...)
	t.Run("a healthy machine", func(t *testing.T) {
		calm := h.Calm(t, console)
		healthy(t, h)
		if diff := h.Settled(t, calm, 10*time.Second, console); diff != "" {
			t.Errorf("looking has changed this:\n%s", diff)
		}
		r := want(t, exitDone, h.Run(t, "nspawn-build", "doctor", "box"))
		t.Log(r.Stdout)
		if !strings.Contains(r.Stdout, "machine box") || !strings.Contains(r.Stdout, "0 errors") {
			t.Errorf("it does not say so: %s", r)
		}
	})
	for _, f := range slices.Concat(cacheFaults, faults) {
		f.try(t, h)
	}
	checkMachine(t, h, m)
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}

func TestDoctorOnAHostWithoutSystemd(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	healthy(t, h)
	create(t, h, fixture("box")...)
	healthy(t, h, "box")
	for _, f := range []fault{
		{
			name: "link renamed", inject: "ip link set ve-box down && ip link set ve-box name elsewhere && ip link set elsewhere up",
			id: "machine.link", about: "box", says: "elsewhere", exit: exitUnreachable, fix: fixIt,
		},
		{
			name: "it ended by itself", inject: "nspawn-build exec box systemctl poweroff || true; while nspawn-build list | grep -q running; do sleep 0.2; done",
			id: "machine.state", about: "box", says: "does not run", exit: exitDone, fix: "nspawn-build start box",
		},
		{
			name: "what a killed supervisor leaves", inject: "mkdir -p /run/nspawn-build/machines/gone && nft add table ip nspawn-build-gone",
			id: "host.orphan", says: "nspawn-build-gone", exit: exitDone, fix: "nspawn-build doctor --fix",
		},
	} {
		f.try(t, h)
	}
	if r := want(t, exitNoMachine, h.Run(t, "nspawn-build", "doctor", "nosuch")); !strings.Contains(r.Stderr, "hint:") {
		t.Errorf("a machine that is not there: %s", r)
	}
	r := want(t, exitHost, h.Run(t, "setpriv", "--reuid=65534", "--clear-groups", "nspawn-build", "doctor"))
	if !strings.Contains(r.Stderr, "root") || !strings.Contains(r.Stderr, "sudo") {
		t.Errorf("to a user it says %s", r)
	}
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}
