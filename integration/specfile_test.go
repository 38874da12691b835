//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// fleet is a spec file of n machines of the fixture.
func fleet(n int, more string) string {
	var b strings.Builder
	b.WriteString("version: 1\ndefaults:\n  distro: fixture\n" + more + "machines:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: box%02d\n", i)
	}
	return b.String()
}

// createAll makes the machines of a file and returns what is said of them.
func createAll(t *testing.T, h *testhost.Host, exit int, args ...string) []made {
	t.Helper()
	r := want(t, exit, h.RunCommand(t, testhost.Command{
		Args: append([]string{"nspawn-build", "create", "--output", "json"}, args...), Timeout: 20 * time.Minute,
	}))
	var all []made
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil {
		t.Fatalf("create did not print a JSON array: %v: %s", err, r)
	}
	return all
}

// made is what create prints of a machine of a file.
type made struct {
	created
	Applied      []struct{ Field, Before, After string }
	NeedsRestart []string
	Restarted    bool
	Problem      string
	Exit         int
}

// createFile makes the single machine of a file.
func createFile(t *testing.T, h *testhost.Host, args ...string) made {
	t.Helper()
	r := want(t, exitDone, h.Run(t, append([]string{"nspawn-build", "create", "--output", "json"}, args...)...))
	var m made
	if err := json.Unmarshal([]byte(r.Stdout), &m); err != nil {
		t.Fatalf("create did not print JSON: %v: %s", err, r)
	}
	return m
}

// roomForMany has the kernel let root have what so many machines take: its
// default is enough for a dozen, and nspawn-build says so. There is one such
// limit for the whole machine that the tests run on.
func roomForMany(t *testing.T) {
	t.Helper()
	const path, enough = "/proc/sys/fs/inotify/max_user_instances", 1024
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	was := strings.TrimSpace(string(data))
	if n, err := strconv.Atoi(was); err != nil || n >= enough {
		return
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(enough)), 0o644); err != nil {
		testhost.Unmet(t, "fs.inotify.max_user_instances is "+was+" and cannot be raised: "+err.Error())
	}
	t.Cleanup(func() { _ = os.WriteFile(path, []byte(was), 0o644) })
}

func TestTwentyMachinesOfOneFileAreMadeAtOnceAndLeaveNothing(t *testing.T) {
	t.Parallel()
	const n = 20
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	roomForMany(t)
	h.WriteFile(t, "/srv/fleet.yaml", fleet(n, "  timeout: 15m\n  labels: {fleet: test}\n"), "0644")
	before := h.Snapshot(t)
	all := createAll(t, h, exitDone, "-f", "/srv/fleet.yaml")
	if len(all) != n {
		t.Fatalf("%d are made", len(all))
	}
	subnets, keys, ids := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, m := range all {
		if want := fmt.Sprintf("box%02d", i); m.Name != want || !m.Changed {
			t.Errorf("number %d is %+v", i, m)
		}
		prefix, err := m.Address.Prefix(24)
		if err != nil {
			t.Fatal(err)
		}
		subnets[prefix.String()] = true
		r := want(t, exitDone, ssh(t, h, "root@"+m.Address.String(), "cat /etc/ssh/ssh_host_*_key.pub && echo ID $(cat /etc/machine-id) $(uname -n)"))
		key, id, _ := strings.Cut(r.Stdout, "ID ")
		keys[key], ids[strings.Fields(id)[0]] = true, true
		if !strings.Contains(id, m.Name) {
			t.Errorf("%s calls itself %s", m.Name, id)
		}
	}
	if len(subnets) != n || len(keys) != n || len(ids) != n {
		t.Errorf("%d machines have %d subnets, %d host keys and %d machine-ids", n, len(subnets), len(keys), len(ids))
	}
	for _, m := range createAll(t, h, exitDone, "-f", "/srv/fleet.yaml") {
		if m.Changed {
			t.Errorf("the same file again changed %s", m.Name)
		}
	}
	want(t, exitDone, h.RunCommand(t, testhost.Command{Args: []string{"nspawn-build", "destroy", "--all", "--yes"}, Timeout: 10 * time.Minute}))
	nothingLeft(t, h, before)
}

func TestAFileThatWasKilledGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.WriteFile(t, "/srv/fleet.yaml", fleet(4, "  timeout: 10m\n"), "0644")
			before := h.Snapshot(t)
			for _, when := range []string{"box01 bootstrap: unpack", "box02 boot: started", "box03 services"} {
				p := h.Start(t, testhost.Command{
					Args:   []string{"nspawn-build", "create", "-f", "/srv/fleet.yaml", "--jobs", "2", "--log-level", "debug"},
					KillOn: regexp.MustCompile(when),
				})
				if r := p.Wait(t, 10*time.Minute); r.Exit != exitKilled && r.Exit != exitDone {
					t.Fatalf("neither killed nor done: %s", r)
				}
			}
			for _, m := range createAll(t, h, exitDone, "-f", "/srv/fleet.yaml") {
				checkMachine(t, h, m.created)
			}
			for _, m := range createAll(t, h, exitDone, "-f", "/srv/fleet.yaml") {
				if m.Changed {
					t.Errorf("it was complete, and %s was changed", m.Name)
				}
			}
			want(t, exitDone, h.Run(t, "nspawn-build", "destroy", "--all", "--yes"))
			nothingLeft(t, h, before)
		})
	}
}

func TestOneOfAFileThatFailsDoesNotKeepTheOthers(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	file := fleet(2, "") + "  - name: broken\n    options: {fail: after}\n"
	h.WriteFile(t, "/srv/fleet.yaml", file, "0644")
	before := h.Snapshot(t)
	t.Run("unless that is wished", func(t *testing.T) {
		h.WriteFile(t, "/srv/fast.yaml", strings.ReplaceAll(file, "- name: box", "- options: {delay: 60s}\n    name: box"), "0644")
		all := createAll(t, h, exitBootstrap, "-f", "/srv/fast.yaml", "--fail-fast", "--jobs", "3")
		for _, m := range all[:2] {
			if !strings.Contains(m.Problem, "another machine failed: broken") {
				t.Errorf("of %s is said %q", m.Name, m.Problem)
			}
		}
		h.MustRun(t, "rm", "/srv/fast.yaml")
		nothingLeft(t, h, before)
	})
	r := h.Run(t, "nspawn-build", "create", "-f", "/srv/fleet.yaml")
	if r.Exit != exitBootstrap || !strings.Contains(r.Stderr, "error: broken: ") || !strings.Contains(r.Stderr, "hint: broken: leave out") ||
		!strings.Contains(r.Stdout, "failed") || strings.Count(r.Stdout, " up ") != 2 {
		t.Errorf("want exit 4, two that are up and one that failed, got %s", r)
	}
	all := createAll(t, h, exitBootstrap, "-f", "/srv/fleet.yaml")
	if all[0].Changed || all[1].Changed || all[2].Exit != exitBootstrap {
		t.Errorf("the second time: %+v", all)
	}
	t.Run("and one alone can be meant", func(t *testing.T) {
		if all := createAll(t, h, exitDone, "-f", "/srv/fleet.yaml", "box01"); len(all) != 1 || all[0].Name != "box01" {
			t.Errorf("it is about %+v", all)
		}
		want(t, exitUsage, h.Run(t, "nspawn-build", "create", "-f", "/srv/fleet.yaml", "nobody"))
	})
	want(t, exitDone, h.Run(t, "nspawn-build", "destroy", "box00", "box01"))
	nothingLeft(t, h, before)
}

func TestAnInterruptEndsAllMachinesOfAFileInGoodOrder(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.WriteFile(t, "/srv/fleet.yaml", fleet(4, "  options: {delay: 60s}\n"), "0644")
	before := h.Snapshot(t)
	p := h.Start(t, testhost.Command{Args: []string{"nspawn-build", "create", "-f", "/srv/fleet.yaml", "--jobs", "2"}})
	awaitText(t, p, "bootstrap: wait")
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	want(t, exitInterrupted, p.Wait(t, time.Minute))
	nothingLeft(t, h, before)
}

const agentFile = `version: 1
name: box
distro: fixture
access:
  password-file: password
limits:
  memory-max: 1G
labels:
  project: web
`

func TestWhatIsEditedInAFileIsApplied(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			h.MustRun(t, "mkdir", "-p", "/srv/specs", "/srv/work")
			h.WriteFile(t, "/srv/specs/password", "a password for the file\n", "0600")
			write := func(text string) { h.WriteFile(t, "/srv/specs/box.yaml", text, "0644") }
			write(agentFile)
			before := h.Snapshot(t)
			m := createFile(t, h, "-f", "/srv/specs/box.yaml", "--ssh-key", "/root/.ssh/id_ed25519.pub")
			again := []string{"-f", "/srv/specs/box.yaml", "--ssh-key", "/root/.ssh/id_ed25519.pub"}
			if got := createFile(t, h, again...); got.Changed {
				t.Errorf("the same file changed it: %+v", got)
			}
			boot := ssh(t, h, "root@"+m.Address.String(), "cat /proc/sys/kernel/random/boot_id").Stdout

			t.Run("what holds at once", func(t *testing.T) {
				write(strings.ReplaceAll(agentFile, "project: web", "project: shop") + "ttl: 2h\n")
				plan := want(t, exitDone, h.Run(t, append([]string{"nspawn-build", "plan"}, again...)...))
				if !strings.Contains(plan.Stdout, "labels.project") || !strings.Contains(plan.Stdout, "at once") {
					t.Errorf("the plan: %s", plan)
				}
				got := createFile(t, h, again...)
				if len(got.Applied) != 2 || len(got.NeedsRestart) != 0 || !got.Changed {
					t.Errorf("it says %+v", got)
				}
			})
			t.Run("what takes a restart", func(t *testing.T) {
				write(strings.ReplaceAll(agentFile, "project: web", "project: shop") + "ttl: 2h\nnetwork: {dns: [203.0.113.1, 203.0.113.2]}\n")
				plan := want(t, exitDone, h.Run(t, append([]string{"nspawn-build", "plan"}, again...)...))
				if !strings.Contains(plan.Stdout, "after a restart") {
					t.Errorf("the plan: %s", plan)
				}
				got := createFile(t, h, again...)
				if strings.Join(got.NeedsRestart, " ") != "network.dns" {
					t.Errorf("it says %+v", got)
				}
				got = createFile(t, h, again...)
				if strings.Join(got.NeedsRestart, " ") != "network.dns" || got.Changed {
					t.Errorf("asked again it says %+v", got)
				}
				if now := ssh(t, h, "root@"+m.Address.String(), "cat /proc/sys/kernel/random/boot_id").Stdout; now != boot {
					t.Errorf("it was booted again, and nobody asked for it")
				}
				show := want(t, exitDone, h.Run(t, "nspawn-build", "show", "box"))
				if !strings.Contains(show.Stdout, "restart    network.dns") {
					t.Errorf("show does not say it: %s", show)
				}
			})
			t.Run("what needs a new machine", func(t *testing.T) {
				write(agentFile + "release: trixie\npackages: [vim]\n")
				r := want(t, exitExists, h.Run(t, append([]string{"nspawn-build", "create"}, again...)...))
				for _, field := range []string{"release", "packages", "hint: destroy it"} {
					if !strings.Contains(r.Stderr, field) {
						t.Errorf("it does not say %q: %s", field, r)
					}
				}
				if strings.Contains(r.Stderr, "labels") {
					t.Errorf("it names what is not in the way: %s", r)
				}
			})
			t.Run("by flags only when that is wished", func(t *testing.T) {
				args := fixture("box", "--password-file", "/srv/specs/password", "--ssh-key", "/root/.ssh/id_ed25519.pub", "--memory-max", "2G")
				r := want(t, exitExists, h.Run(t, args...))
				if !strings.Contains(r.Stderr, "hint: have it changed with --apply") {
					t.Errorf("it does not say how: %s", r)
				}
				if got := createFile(t, h, append(args[1:], "--apply")...); len(got.Applied) == 0 {
					t.Errorf("it says %+v", got)
				}
			})
			t.Run("and restarted when that is wished", func(t *testing.T) {
				write(agentFile + "network: {dns: [203.0.113.1, 203.0.113.2]}\nstorage: {read-only: false}\n")
				got := createFile(t, h, append(again, "--restart")...)
				if !got.Restarted || len(got.NeedsRestart) != 0 {
					t.Errorf("it says %+v", got)
				}
				if now := ssh(t, h, "root@"+m.Address.String(), "cat /proc/sys/kernel/random/boot_id").Stdout; now == boot || now == "" {
					t.Errorf("it was not booted again: %q", now)
				}
				r := ssh(t, h, "root@"+m.Address.String(), "cat /etc/systemd/network/80-container-host0.network")
				if !strings.Contains(r.Stdout, "DNS=203.0.113.2") {
					t.Errorf("it does not ask the server: %s", r)
				}
			})
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}

func TestAnEditThatWasKilledIsAppliedByTheSameCommand(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	h.MustRun(t, "mkdir", "-p", "/srv/specs")
	h.WriteFile(t, "/srv/specs/password", "a password for the file\n", "0600")
	h.WriteFile(t, "/srv/specs/box.yaml", agentFile, "0644")
	before := h.Snapshot(t)
	m := createFile(t, h, "-f", "/srv/specs/box.yaml", "--ssh-key", "/root/.ssh/id_ed25519.pub")
	for i, edit := range []string{"limits: {memory-max: 2G}", "limits: {memory-max: 3G}\nenable: true", "limits: {memory-max: 4G}"} {
		h.WriteFile(t, "/srv/specs/box.yaml", strings.ReplaceAll(agentFile, "limits:\n  memory-max: 1G", edit), "0644")
		p := h.Start(t, testhost.Command{
			Args:   []string{"nspawn-build", "create", "-f", "/srv/specs/box.yaml", "--ssh-key", "/root/.ssh/id_ed25519.pub", "--log-level", "debug"},
			KillOn: regexp.MustCompile(`(limits|settings): (started|nothing to change)`),
		})
		p.Wait(t, time.Minute)
		got := createFile(t, h, "-f", "/srv/specs/box.yaml", "--ssh-key", "/root/.ssh/id_ed25519.pub")
		if got.Address != m.Address {
			t.Errorf("it is another machine: %+v", got)
		}
		dropIn := h.MustRun(t, "cat", "/etc/systemd/system/systemd-nspawn@box.service.d/50-nspawn-build.conf")
		if want := fmt.Sprintf("MemoryMax=%d\n", (i+2)<<30); !strings.Contains(dropIn, want) {
			t.Errorf("after %q the drop-in says\n%s", edit, dropIn)
		}
		on := h.Run(t, "systemctl", "is-enabled", "systemd-nspawn@box.service").Exit == 0
		if on != strings.Contains(edit, "enable") {
			t.Errorf("after %q it is enabled: %v", edit, on)
		}
		if again := createFile(t, h, "-f", "/srv/specs/box.yaml", "--ssh-key", "/root/.ssh/id_ed25519.pub"); again.Changed {
			t.Errorf("after %q nothing was left to do, and it is %+v", edit, again)
		}
	}
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}

func TestWhatShowPrintsIsTheMachine(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	before := h.Snapshot(t)
	m := create(t, h, fixture("box", "--memory-max", "1G", "--label", "a=b: c", "--ttl", "3h", "--dns", testhost.OutsideAddress, "--option", "delay=0s")...)
	h.MustRun(t, "sh", "-c", "nspawn-build show box --output yaml > /srv/shown.yaml")
	if got := createFile(t, h, "--file", "/srv/shown.yaml"); got.Changed || got.Address != m.Address {
		t.Errorf("what was shown changes it: %+v", got)
	}
	var shown struct {
		Record struct{ Spec map[string]any }
	}
	r := want(t, exitDone, h.Run(t, "nspawn-build", "show", "box", "-o", "json"))
	if err := json.Unmarshal([]byte(r.Stdout), &shown); err != nil || shown.Record.Spec["name"] != "box" {
		t.Errorf("%v: %s", err, r)
	}
	destroy(t, h, "box")
	h.MustRun(t, "sh", "-c", "nspawn-build create --file - < /srv/shown.yaml && nspawn-build show box --output yaml > /srv/again.yaml && cmp /srv/shown.yaml /srv/again.yaml")
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}

func TestWhatAnEditTakesAwayIsGone(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	h.MustRun(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f", "/srv/guest")
	const plain = "version: 1\nname: box\ndistro: fixture\n"
	before := h.Snapshot(t)
	h.WriteFile(t, "/srv/box.yaml", plain+"enable: true\naccess: {ssh-keys: [~/.ssh/id_ed25519.pub, guest.pub]}\nnetwork: {dns: [host]}\n", "0644")
	m := createFile(t, h, "-f", "/srv/box.yaml")
	guest := []string{"ssh", "-i", "/srv/guest", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "root@" + m.Address.String(), "true"}
	want(t, exitDone, h.Run(t, guest...))
	const stub = "/etc/systemd/resolved.conf.d/50-nspawn-build-box.conf"
	if !h.Exists(t, stub) {
		t.Fatalf("%s is not there", stub)
	}
	h.WriteFile(t, "/srv/box.yaml", plain+"access: {ssh-keys: [~/.ssh/id_ed25519.pub]}\n", "0644")
	got := createFile(t, h, "-f", "/srv/box.yaml")
	if len(got.Applied) == 0 || strings.Join(got.NeedsRestart, " ") != "network.dns" {
		t.Errorf("it says %+v", got)
	}
	if h.Exists(t, stub) {
		t.Errorf("%s is there still", stub)
	}
	if h.Run(t, "systemctl", "is-enabled", "systemd-nspawn@box.service").Exit == 0 {
		t.Error("it is enabled still")
	}
	if r := h.Run(t, guest...); r.Exit == 0 {
		t.Error("the key that was taken out still opens it")
	}
	if r := ssh(t, h, "root@"+m.Address.String(), "true"); r.Exit != exitDone {
		t.Errorf("the machine cannot be reached: %s", r)
	}
	if again := createFile(t, h, "-f", "/srv/box.yaml", "--restart"); !again.Restarted {
		t.Errorf("it was to be restarted: %+v", again)
	}
	checkMachine(t, h, m.created)
	destroy(t, h, "box")
	nothingLeft(t, h, before)
}
