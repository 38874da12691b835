//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// The exit statuses that are part of the contract.
const (
	exitDone        = 0
	exitUsage       = 2
	exitHost        = 3
	exitBootstrap   = 4
	exitConfigure   = 5
	exitBoot        = 6
	exitExists      = 8
	exitNoMachine   = 9
	exitKilled      = 128 + 9
	exitInterrupted = 130
)

// kinds are the two kinds of hosts, for what is to be true on both.
var kinds = []struct {
	name  string
	start func(testing.TB, testhost.Options) *testhost.Host
}{{"on a systemd host", testhost.Start}, {"on a host without systemd", testhost.StartDirect}}

// install puts nspawn-build and a key of root's on a host.
func install(t *testing.T, h *testhost.Host) *testhost.Host {
	t.Helper()
	h.InstallProduct(t)
	h.MustRun(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@testhost", "-f", "/root/.ssh/id_ed25519")
	return h
}

// installFixture adds the distribution "fixture", which takes a second.
func installFixture(t *testing.T, h *testhost.Host) *testhost.Host {
	t.Helper()
	install(t, h).InstallFixture(t)
	return h
}

// fixture is the command line that makes a machine of the fixture.
func fixture(name string, more ...string) []string {
	return append([]string{"nspawn-build", "--distro", "fixture", name}, more...)
}

// want ends the test unless a command exited as it should.
func want(t *testing.T, exit int, r testhost.Result) testhost.Result {
	t.Helper()
	if r.Exit != exit || r.Held {
		t.Fatalf("want exit %d, got %s", exit, r)
	}
	return r
}

// created is what create prints with --output json.
type created struct {
	Name    string     `json:"name"`
	Changed bool       `json:"changed"`
	Address netip.Addr `json:"address"`
	Tree    string     `json:"tree"`
}

// create makes a machine and returns what is said of it.
func create(t *testing.T, h *testhost.Host, args ...string) created {
	t.Helper()
	return read(t, want(t, exitDone, h.Run(t, append(args, "--output", "json")...)))
}

// read reads what create printed.
func read(t *testing.T, r testhost.Result) created {
	t.Helper()
	var c created
	if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil {
		t.Fatalf("create did not print JSON: %v: %s", err, r)
	}
	return c
}

// destroy removes a machine.
func destroy(t *testing.T, h *testhost.Host, name string) {
	t.Helper()
	want(t, exitDone, h.Run(t, "nspawn-build", "destroy", name))
}

// nothingLeft says what a machine has left behind.
func nothingLeft(t *testing.T, h *testhost.Host, before testhost.Snapshot) {
	t.Helper()
	if diff := h.Settled(t, before, 10*time.Second); diff != "" {
		t.Errorf("this is left behind:\n%s", diff)
	}
	// What is in the trees' own directories no snapshot holds.
	trees := h.Run(t, "sh", "-c", "ls -A /root/containers /var/lib/machines 2>/dev/null | grep -v :$")
	if left := strings.TrimSpace(trees.Stdout); left != "" {
		t.Errorf("this is left of trees:\n%s", left)
	}
}

// sshOptions make ssh trust and ask nothing but what the host is configured
// for: a plain `ssh root@ADDRESS` by a user whose own known_hosts is empty.
var sshOptions = []string{"-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"}

// ssh runs a command in a machine, through a plain ssh of the host.
func ssh(t *testing.T, h *testhost.Host, target string, command ...string) testhost.Result {
	t.Helper()
	return h.Run(t, slices.Concat([]string{"ssh"}, sshOptions, []string{target}, command)...)
}

// questions are what a machine is asked, each a shell command; together they
// cost one login. Machines have no HTTP client, so the shell is one.
var questions = []struct{ what, command, want string }{
	{"its systemd is up", "systemctl is-system-running", "running"},
	{"no unit failed", "systemctl --failed --no-legend --plain | wc -l", "0"},
	{"a name resolves", "getent hosts " + testhost.OutsideName, testhost.OutsideAddress},
	{
		"the outside is reached", "exec 3<>/dev/tcp/OUTSIDE" + `/80 &&
			printf 'GET / HTTP/1.0\r\nHost: ` + testhost.OutsideName + `\r\n\r\n' >&3 && tail -n1 <&3`,
		strings.TrimSpace(testhost.OutsideText),
	},
	{"its name", "uname -n", "NAME"},
	{"its address", "ip -4 -o address show dev host0", "ADDRESS"},
}

// checkMachine asks the machine itself whether it is what was promised.
func checkMachine(t *testing.T, h *testhost.Host, m created) {
	t.Helper()
	checkReaching(t, h, m, testhost.OutsideName)
}

// checkReaching is checkMachine for one that reaches the outside at another
// place.
func checkReaching(t *testing.T, h *testhost.Host, m created, outside string) {
	t.Helper()
	const end = "=== end of answer"
	var script strings.Builder
	for _, q := range questions {
		fmt.Fprintf(&script, "(%s) 2>&1; echo; echo '%s'\n", strings.ReplaceAll(q.command, "OUTSIDE", outside), end)
	}
	r := ssh(t, h, "root@"+m.Address.String(), "bash -c "+quote(script.String()))
	answers := strings.Split(r.Stdout, end)
	if r.Exit != 0 || len(answers) != len(questions)+1 {
		t.Fatalf("%s cannot be asked: %s", m.Name, r)
	}
	for i, q := range questions {
		wanted := strings.NewReplacer("NAME", m.Name, "ADDRESS", m.Address.String()).Replace(q.want)
		if !strings.Contains(answers[i], wanted) {
			t.Errorf("%s: %s: want %q, got %q", m.Name, q.what, wanted, strings.TrimSpace(answers[i]))
		}
	}
	// By name as well, and without a word about the host key.
	if r := ssh(t, h, m.Name+".nspawn", "true"); r.Exit != 0 || r.Stderr != "" {
		t.Errorf("ssh %s.nspawn: %s", m.Name, r)
	}
	if h.Exists(t, "/root/.ssh/known_hosts") {
		t.Errorf("root's own known_hosts was written to")
	}
}

// quote makes one word for a remote shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
