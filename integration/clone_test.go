//go:build integration

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// clone is the command line that clones a machine.
func clone(source, name string, more ...string) []string {
	return append([]string{"nspawn-build", "clone", source, name}, more...)
}

// treeSum is a sum of all that is in a tree, but for times of access.
func treeSum(t *testing.T, h *testhost.Host, tree string) string {
	t.Helper()
	return h.MustRun(t, "sh", "-c", `cd "$1" && { find . -printf '%p %y %m %U %G %s %T@ %l\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum; } | sha256sum`, "sh", tree)
}

// identityOf is what no two machines share.
func identityOf(t *testing.T, h *testhost.Host, m created) map[string]string {
	t.Helper()
	r := want(t, exitDone, ssh(t, h, "root@"+m.Address.String(), "cat /etc/machine-id /var/lib/dbus/machine-id 2>/dev/null | sort -u | tr '\n' ' '; echo; uname -n; cat /etc/ssh/ssh_host_ed25519_key.pub; cat /etc/hostname; grep 127.0.1.1 /etc/hosts"))
	lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
	if len(lines) != 5 {
		t.Fatalf("%s cannot be told apart: %s", m.Name, r)
	}
	return map[string]string{
		"machine-id": lines[0], "name": lines[1], "host key": lines[2], "hostname": lines[3], "hosts": lines[4],
		"address": m.Address.String(), "tree": m.Tree,
	}
}

func differ(t *testing.T, a, b map[string]string) {
	t.Helper()
	for what := range a {
		if a[what] == b[what] {
			t.Errorf("both have the same %s: %s", what, a[what])
		}
	}
}

func TestACloneIsAMachineOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			box := create(t, h, fixture("box", "--memory-max", "1G", "--tasks-max", "900", "--label", "project=web")...)
			// What its user made of it.
			want(t, exitDone, ssh(t, h, "root@"+box.Address.String(),
				"echo hers | tee /root/notes /var/lib/systemd/random-seed /var/lib/systemd/credential.secret; systemctl disable --quiet apt-daily.timer; echo 192.0.2.7 box elsewhere >>/etc/hosts; setcap cap_net_raw+ep /usr/bin/true 2>/dev/null; sync"))
			want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
			sum := treeSum(t, h, box.Tree)

			twin := create(t, h, clone("box", "twin", "--memory-max", "700M", "--label", "stage=test")...)
			if now := treeSum(t, h, box.Tree); now != sum {
				t.Error("the tree of the origin has changed")
			}
			want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
			checkMachine(t, h, box)
			checkMachine(t, h, twin)
			a, b := identityOf(t, h, box), identityOf(t, h, twin)
			differ(t, a, b)
			if !strings.Contains(b["hosts"], "twin") || strings.Contains(b["hosts"], "box") {
				t.Errorf("its hosts file says %q", b["hosts"])
			}

			t.Run("what its user made of the origin is in the clone", func(t *testing.T) {
				r := ssh(t, h, "root@"+twin.Address.String(), "cat /root/notes; systemctl is-enabled apt-daily.timer; grep 192.0.2.7 /etc/hosts; ls /var/log/journal 2>/dev/null | grep -vx $(cat /etc/machine-id)")
				if got := strings.Fields(r.Stdout); strings.Join(got, " ") != "hers disabled 192.0.2.7 twin elsewhere" {
					t.Errorf("got %q: %s", got, r)
				}
			})
			t.Run("what was the origin's alone is not", func(t *testing.T) {
				for _, name := range []string{"random-seed", "credential.secret"} {
					if h.Run(t, "grep", "-q", "hers", twin.Tree+"/var/lib/systemd/"+name).Exit == 0 {
						t.Errorf("it has the origin's %s", name)
					}
				}
			})
			t.Run("what was wished for of the origin is wished for of the clone", func(t *testing.T) {
				var record struct {
					Spec struct {
						Limits struct{ MemoryMax, TasksMax uint64 }
						Labels map[string]string
					}
					Clone struct{ Of, Way string }
				}
				if err := json.Unmarshal([]byte(h.ReadFile(t, "/var/lib/nspawn-build/machines/twin.json")), &record); err != nil {
					t.Fatal(err)
				}
				if l := record.Spec.Limits; l.MemoryMax != 700<<20 || l.TasksMax != 900 || record.Clone.Of != "box" || record.Clone.Way == "" ||
					fmt.Sprint(record.Spec.Labels) != "map[project:web stage:test]" {
					t.Errorf("got %+v", record)
				}
			})
			t.Run("the same command again changes nothing", func(t *testing.T) {
				if again := create(t, h, clone("box", "twin", "--memory-max", "700M", "--label", "stage=test")...); again.Changed {
					t.Errorf("got %+v", again)
				}
			})

			want(t, exitDone, h.Run(t, "nspawn-build", "stop", "twin"))
			third := create(t, h, clone("twin", "third")...)
			c := identityOf(t, h, third)
			differ(t, a, c)
			differ(t, b, c)
			// Each is whole without the others.
			destroy(t, h, "twin")
			checkMachine(t, h, box)
			checkMachine(t, h, third)
			destroy(t, h, "box")
			checkMachine(t, h, third)
			destroy(t, h, "third")
			nothingLeft(t, h, before)
		})
	}
}

func TestAMachineThatRunsIsClonedOnlyWhereItIsSaid(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			box := create(t, h, fixture("box")...)
			at := "root@" + box.Address.String()
			boot := ssh(t, h, at, "cat /proc/sys/kernel/random/boot_id").Stdout
			// Two files that always say the same, one after the other: not so in
			// a copy that was made while they were being written.
			want(t, exitDone, ssh(t, h, at, `systemd-run --quiet --unit=writer sh -c 'n=0; while :; do n=$((n+1)); for f in /root/first /usr/zz-second; do echo $n >$f.new; mv $f.new $f; done; done'; sleep 1`))

			r := want(t, exitExists, h.Run(t, clone("box", "twin")...))
			if !strings.Contains(r.Stderr, "hint:") || !strings.Contains(r.Stderr, "nspawn-build stop box") || !strings.Contains(r.Stderr, "--live") {
				t.Errorf("it does not say what to do: %s", r)
			}
			twin := create(t, h, clone("box", "twin", "--live")...)
			checkMachine(t, h, box)
			checkMachine(t, h, twin)
			differ(t, identityOf(t, h, box), identityOf(t, h, twin))
			if now := ssh(t, h, at, "cat /proc/sys/kernel/random/boot_id").Stdout; now != boot {
				t.Errorf("the origin was booted again: %q, before %q", now, boot)
			}
			var n, m int
			text := ssh(t, h, "root@"+twin.Address.String(), "cat /root/first /usr/zz-second").Stdout
			if _, err := fmt.Sscan(text, &n, &m); err != nil || n < m || n > m+1 {
				t.Errorf("the clone is not of one moment: %q, %v", text, err)
			}
			a := ssh(t, h, at, "cat /root/first").Stdout
			if b := h.Eventually(t, 10*time.Second, "sh", "-c", `s=$(ssh -o BatchMode=yes "$1" cat /root/first) && [ "$s" != "$2" ] && echo "$s"`, "sh", at, strings.TrimSpace(a)); b == a {
				t.Errorf("the origin does not go on: %q", b)
			}
			destroy(t, h, "box")
			destroy(t, h, "twin")
			nothingLeft(t, h, before)
		})
	}
}

func TestAnybodyCanBeLetIntoAClone(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.MustRun(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/other")
	create(t, h, fixture("box", "--no-boot")...)
	twin := create(t, h, clone("box", "twin", "--ssh-key", "/root/other.pub", "--generate-password")...)
	at := "root@" + twin.Address.String()
	if r := ssh(t, h, at, "true"); r.Exit == 0 {
		t.Errorf("the origin's key opens it: %s", r)
	}
	want(t, exitDone, h.Run(t, "ssh", "-o", "BatchMode=yes", "-i", "/root/other", at, "true"))
	if shadow := h.MustRun(t, "grep", "^root:", twin.Tree+"/etc/shadow"); !strings.Contains(shadow, ":$") {
		t.Errorf("it has no password: %s", shadow)
	}
}

// Where a file system cannot be mounted with mapped owners, systemd-nspawn gives
// the tree to a range of users. That of the origin is not the clone's.
func TestAMachineWhoseTreeWasGivenAwayIsCloned(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.MustRun(t, "mkdir", "-m", "0700", "/opt/machines") // on an overlay
	box := create(t, h, fixture("box", "--directory", "/opt/machines")...)
	if h.MustRun(t, "stat", "-c", "%u", box.Tree) == "0\n" {
		t.Skip("systemd-nspawn can map owners here too")
	}
	twin := create(t, h, clone("box", "twin", "--live")...)
	checkMachine(t, h, box)
	checkMachine(t, h, twin)
	if a, b := h.MustRun(t, "stat", "-c", "%u", box.Tree), h.MustRun(t, "stat", "-c", "%u", twin.Tree); a == b {
		t.Errorf("both trees belong to %s", a)
	}
	// One that can map owners finds them where they are to be.
	third := create(t, h, clone("box", "third", "--live", "--directory", "/root/containers")...)
	checkMachine(t, h, third)
	if got := h.MustRun(t, "stat", "-c", "%u:%g", third.Tree, third.Tree+"/etc/shadow"); !strings.HasPrefix(got, "0:0\n0:") {
		t.Errorf("the clone belongs to %q", got)
	}
}

func TestManyAreClonedFromOneAtTheSameTime(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	create(t, h, fixture("box", "--no-boot")...)
	var all []*testhost.Process
	for n := range 5 {
		all = append(all, h.Start(t, testhost.Command{Args: clone("box", fmt.Sprint("twin", n), "--no-boot", "--output", "json")}))
	}
	seen := map[string]bool{}
	for _, p := range all {
		r := want(t, exitDone, p.Wait(t, 2*time.Minute))
		var c created
		if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil {
			t.Fatalf("%v: %s", err, r)
		}
		id := h.ReadFile(t, c.Tree+"/etc/ssh/ssh_host_ed25519_key.pub")
		if seen[c.Address.String()] || seen[id] {
			t.Errorf("%s shares its address or key with another", c.Name)
		}
		seen[c.Address.String()], seen[id] = true, true
	}
}

// The key by which an Arch machine says whom its pacman trusts is not shared
// with its clone, which yet trusts the same and makes a key of its own.
func TestACloneOfAnArchTrustsTheSameByAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, options(t, testhost.Options{}, arch)))
	box := create(t, h, arch.command(t, h, "box")...)
	twin := create(t, h, clone("box", "twin", "--live")...)
	checkMachine(t, h, box)
	checkMachine(t, h, twin)
	const keys = "ls /etc/pacman.d/gnupg/private-keys-v1.d"
	a := ssh(t, h, "root@"+box.Address.String(), keys).Stdout
	b := ssh(t, h, "root@"+twin.Address.String(), keys).Stdout
	if a == "" || b == "" || slices.ContainsFunc(strings.Fields(b), func(k string) bool { return slices.Contains(strings.Fields(a), k) }) {
		t.Errorf("the origin's keys are %q, those of its clone %q", a, b)
	}
	r := ssh(t, h, "root@"+twin.Address.String(), arch.install)
	if r.Exit != exitDone {
		t.Errorf("it cannot install what is signed: %s", r)
	}
}

// On btrfs trees are subvolumes, and a clone is a snapshot: all at one moment,
// so that the origin may run and nobody has to hold it still.
func TestOnBtrfsAMachineThatRunsIsClonedInNoTime(t *testing.T) {
	t.Parallel()
	testhost.Require(t, "mkfs.btrfs", "losetup")
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			mountBtrfs(t, h, "/srv/btrfs")
			before := h.Snapshot(t)
			box := create(t, h, fixture("box", "--directory", "/srv/btrfs/machines")...)
			if ino := strings.TrimSpace(h.MustRun(t, "stat", "-c", "%i", box.Tree)); ino != "256" {
				t.Errorf("its tree is no subvolume: inode %s", ino)
			}
			want(t, exitDone, ssh(t, h, "root@"+box.Address.String(), "echo hers >/root/notes"))
			twin := create(t, h, clone("box", "twin")...)
			checkMachine(t, h, box)
			checkMachine(t, h, twin)
			differ(t, identityOf(t, h, box), identityOf(t, h, twin))
			if way := h.MustRun(t, "grep", "-o", `"way": ".*"`, "/var/lib/nspawn-build/machines/twin.json"); !strings.Contains(way, "snapshot") {
				t.Errorf("it was made by %s", way)
			}
			third := create(t, h, clone("twin", "third")...)
			destroy(t, h, "box")
			destroy(t, h, "twin")
			checkMachine(t, h, third)
			if r := ssh(t, h, "root@"+third.Address.String(), "cat /root/notes"); r.Stdout != "hers\n" {
				t.Errorf("the clone of a clone has not what the first had: %s", r)
			}
			destroy(t, h, "third")
			nothingLeft(t, h, before)
			if left := h.MustRun(t, "ls", "-A", "/srv/btrfs"); left != "" {
				t.Errorf("left on the disk: %q", left)
			}
		})
	}
}

// mountBtrfs mounts an empty btrfs on the host until the test ends.
func mountBtrfs(t *testing.T, h *testhost.Host, dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "btrfs")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 2<<30)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.btrfs", "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.btrfs: %v: %s", err, out)
	}
	loop, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		testhost.Unmet(t, fmt.Sprintf("a loop device: %v: %s", err, loop))
	}
	device := strings.TrimSpace(string(loop))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v: %s", err, out)
		}
	})
	h.MustRun(t, "sh", "-c", `mkdir -p "$2" && mknod /dev/nspawn-build-test b 7 "${1#/dev/loop}" && mount -t btrfs /dev/nspawn-build-test "$2" && chmod 700 "$2"`, "sh", device, dir)
}
