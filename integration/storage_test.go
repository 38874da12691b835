//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// withUsers adds two users to a host: alice, whose home is hers alone, and bob.
func withUsers(t *testing.T, h *testhost.Host) *testhost.Host {
	t.Helper()
	h.MustRun(t, "sh", "-ec", `
		useradd --create-home --uid 1234 --shell /bin/sh alice && chmod 700 /home/alice
		useradd --create-home --uid 1235 --shell /bin/sh bob
		install -d -o alice -g alice /home/alice/project
		runuser -u alice -- sh -c 'echo hers >/home/alice/project/note; chmod 600 /home/alice/project/note; echo file >/home/alice/file'
		install -d -o alice -g alice /srv/open
		install -d /srv/roots
		ln -s /home/alice/project /home/alice/link`)
	return h
}

// as is a command line that runs as a user of the host.
func as(user, script string) []string {
	return []string{"runuser", "-u", user, "--", "sh", "-c", script}
}

// inMachine runs a shell script in a machine.
func inMachine(t *testing.T, h *testhost.Host, name, script string) testhost.Result {
	t.Helper()
	return h.Run(t, "nspawn-build", "exec", name, "--", "sh", "-c", script)
}

func TestAWorkspaceBelongsToItsOwnerOnBothSides(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := withUsers(t, installFixture(t, kind.start(t, testhost.Options{})))
			before := h.Snapshot(t)
			m := create(t, h, fixture("box", "--bind", "/home/alice/project:/workspace", "--bind-ro", "/srv/open:/mnt/open", "--bind-ro", "/home/alice/file:/srv/note")...)
			has(t, "its settings", h.ReadFile(t, "/etc/systemd/nspawn/box.nspawn"), "[Files]\n", "\nBind=/home/alice/project:/workspace:", "\nBindReadOnly=/srv/open:/mnt/open:")

			r := want(t, exitDone, inMachine(t, h, "box", `
				stat -c %U:%a /workspace /workspace/note && cat /workspace/note /srv/note &&
				echo made >/workspace/made && mkdir -p /workspace/d/e && echo again >>/workspace/note`))
			if !strings.HasPrefix(r.Stdout, "root:755\nroot:600\nhers\nfile\n") {
				t.Errorf("in the machine it is %s", r)
			}
			if got := h.MustRun(t, "stat", "-c", "%U:%G", "/home/alice/project/made", "/home/alice/project/d/e", "/home/alice/project/note"); got != strings.Repeat("alice:alice\n", 3) {
				t.Errorf("on the host what the machine made belongs to\n%s", got)
			}
			want(t, exitDone, h.Run(t, as("alice", "echo more >>~/project/made; mv ~/project/made ~/project/moved")...))
			if r := inMachine(t, h, "box", "cat /workspace/moved"); r.Stdout != "made\nmore\n" {
				t.Errorf("what alice made of it the machine sees as %s", r)
			}
			// As the guide has an agent do it.
			if r := ssh(t, h, "root@"+m.Address.String(), "cd /workspace && cat moved && echo agent >agent"); r.Stdout != "made\nmore\n" || r.Exit != 0 {
				t.Errorf("over SSH: %s", r)
			}
			if r := want(t, exitDone, h.Run(t, "nspawn-build", "exec", "--workdir", "/workspace", "box", "cat", "agent")); r.Stdout != "agent\n" {
				t.Errorf("by exec: %s", r)
			}
			if r := inMachine(t, h, "box", "touch /mnt/open/x"); r.Exit == 0 || !strings.Contains(r.Stderr, "Read-only") {
				t.Errorf("what was bound for reading is written to: %s", r)
			}

			t.Run("a setuid program made inside is of no use to others", func(t *testing.T) {
				want(t, exitDone, inMachine(t, h, "box", "cp /bin/id /workspace/id && chmod 6755 /workspace/id && chmod 777 /workspace"))
				if got := h.MustRun(t, "stat", "-c", "%U:%a", "/home/alice/project/id"); got != "alice:6755\n" {
					t.Fatalf("the test needs a program that is setuid: it is %s", got)
				}
				for _, user := range []string{"nobody", "bob"} {
					if r := h.Run(t, as(user, "/home/alice/project/id -u")...); r.Exit == 0 || strings.Contains(r.Stdout, "1234") {
						t.Errorf("%s runs it: %s", user, r)
					}
				}
			})
			t.Run("a link made inside leads nowhere on the host", func(t *testing.T) {
				want(t, exitDone, inMachine(t, h, "box", "ln -s /etc/shadow /workspace/shadow; ln -s ../../../root/.ssh /workspace/ssh"))
				machines, host := inMachine(t, h, "box", "cat /workspace/shadow").Stdout, h.ReadFile(t, "/etc/shadow")
				if !strings.Contains(host, "\nalice:") || strings.Contains(machines, "alice") || !strings.Contains(machines, "\nroot:") {
					t.Errorf("through a link in the workspace the machine reads\n%s", machines)
				}
			})
			t.Run("a link in the place of the source is not followed", func(t *testing.T) {
				want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
				h.MustRun(t, as("alice", "mv ~/project ~/kept && ln -s /etc ~/project")...)
				r := want(t, exitUsage, h.Run(t, "nspawn-build", "start", "box"))
				if !strings.Contains(r.Stderr, "/home/alice/project, which others could turn elsewhere") {
					t.Errorf("it does not say why: %s", r)
				}
				if h.Systemd() {
					if r := h.Run(t, "machinectl", "start", "box"); r.Exit == 0 {
						t.Errorf("machinectl starts it: %s", r)
					}
				}
				h.MustRun(t, as("alice", "rm ~/project && mv ~/kept ~/project")...)
				want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
				if r := inMachine(t, h, "box", "cat /workspace/moved"); r.Stdout != "made\nmore\n" {
					t.Errorf("the workspace is not there again: %s", r)
				}
			})
			t.Run("the same command again changes nothing", func(t *testing.T) {
				r := want(t, exitDone, h.Run(t, fixture("box", "--bind", "/home/alice/project:/workspace", "--bind-ro", "/srv/open:/mnt/open", "--bind-ro", "/home/alice/file:/srv/note")...))
				if !strings.Contains(r.Stdout, "already") {
					t.Errorf("it changes something: %s", r)
				}
			})
			destroy(t, h, "box")
			if got := h.ReadFile(t, "/home/alice/project/moved"); got != "made\nmore\n" {
				t.Errorf("destroying the machine made of the workspace %q", got)
			}
			nothingLeft(t, h, before)
		})
	}
}

// What is refused is refused before anything is touched, with the reason.
func TestBindsThatWouldOpenTheHostAreRefused(t *testing.T) {
	t.Parallel()
	h := withUsers(t, installFixture(t, testhost.StartDirect(t, testhost.Options{})))
	h.MustRun(t, "sh", "-ec", `
		install -d -o alice -g alice /opt/work /home/alice/shared && chmod 700 /opt
		perl -e 'use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0); bind($s, sockaddr_un("/srv/docker.sock")) or die'
		mkfifo /srv/fifo
		install -d -m 700 /srv/nosuid && mount -t tmpfs -o nosuid,mode=755 tmpfs /mnt && install -d -o alice -g alice /mnt/work && install -d -o alice -g games /home/alice/games`)
	create(t, h, fixture("other", "--no-boot", "--bind", "/home/alice/shared")...)
	h.MustRun(t, "nspawn-build", "plugin", "list")
	h.MustRun(t, "install", "-d", "-o", "alice", "/home/alice/shared/below")
	before := h.Snapshot(t)
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"missing", []string{"--bind", "/home/alice/nothing"}, []string{"there is no /home/alice/nothing", "mkdir -p"}},
		{"a link", []string{"--bind", "/home/alice/link:/w"}, []string{"/home/alice/link", "name it as /home/alice/project"}},
		{"a link on the way", []string{"--bind", "/home/alice/link/x:/w"}, []string{"leads through a link"}},
		{"setuid for everybody", []string{"--bind", "/srv/open:/w"}, []string{"plant setuid programs", "as alice", "nosuid", "--bind-ro"}},
		{"setuid root for everybody", []string{"--bind", "/srv/roots:/w"}, []string{"as root"}},
		{"no owners can be mapped", []string{"--bind", "/opt/work:/w"}, []string{"overlay", "ext4"}},
		{"a group of another number", []string{"--bind", "/home/alice/games:/w"}, []string{"belongs to group", "chgrp -R 1234"}},
		{"configuration", []string{"--bind", "/etc:/mnt/etc"}, []string{"take over this host"}},
		{"configuration, for reading", []string{"--bind-ro", "/etc:/mnt/etc"}, []string{"take over this host"}},
		{"part of it", []string{"--bind", "/etc/ssl:/mnt/ssl"}, []string{"write to this host's /etc", "--bind-ro"}},
		{"processes", []string{"--bind-ro", "/proc:/mnt/proc"}, []string{"/proc"}},
		{"devices", []string{"--bind", "/dev/null:/mnt/null"}, []string{"/dev"}},
		{"the kernel", []string{"--bind-ro", "/sys/kernel:/mnt/k"}, []string{"/sys"}},
		{"services", []string{"--bind", "/run:/mnt/run"}, []string{"/run"}},
		{"records", []string{"--bind-ro", "/var/lib/nspawn-build:/w"}, []string{"/var/lib/nspawn-build"}},
		{"what holds them", []string{"--bind-ro", "/var/lib:/w"}, []string{"is or holds"}},
		{"all homes", []string{"--bind", "/home:/w"}, []string{"/home"}},
		{"trees", []string{"--bind", "/root/containers:/w"}, []string{"tree"}},
		{"another machine's tree", []string{"--bind-ro", "/root/containers/other/etc:/w"}, []string{"tree of machine other"}},
		{"what another could lead elsewhere", []string{"--bind", "/home/alice/shared/below:/w"}, []string{"machine other"}},
		{"what leads another elsewhere", []string{"--bind", "/home/alice:/w"}, []string{"machine other"}},
		{"a service's socket", []string{"--bind", "/srv/docker.sock:/w"}, []string{"control this host"}},
		{"a pipe", []string{"--bind", "/srv/fifo:/w"}, []string{"neither a directory nor a file"}},
		{"over the machine's configuration", []string{"--bind-ro", "/srv/open:/etc"}, []string{"hide the machine's own /etc"}},
		{"over its keys", []string{"--bind-ro", "/srv/open:/root"}, []string{"hide the machine's own /root"}},
		{"where systemd mounts", []string{"--bind-ro", "/srv/open:/run/x"}, []string{"systemd mounts"}},
		{"inside another", []string{"--bind-ro", "/srv/open:/w", "--bind-ro", "/srv/roots:/w/x"}, []string{"inside of /w"}},
		{"root's, to a sandbox", []string{"--bind", "/srv/nosuid:/w", "--profile", "sandbox"}, []string{"belongs to root"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := want(t, exitUsage, h.Run(t, fixture("box", c.args...)...))
			for _, word := range append(c.says, "storage.bind", "hint: ") {
				if !strings.Contains(r.Stderr, word) {
					t.Errorf("it does not say %q: %s", word, r)
				}
			}
			if diff := h.Settled(t, before, 0); diff != "" {
				t.Errorf("something was touched:\n%s", diff)
			}
		})
	}
	t.Run("where nothing is setuid everybody may come near", func(t *testing.T) {
		create(t, h, fixture("box", "--bind", "/mnt/work:/w")...)
		want(t, exitDone, inMachine(t, h, "box", "cp /bin/id /w && chmod 4755 /w/id"))
		if r := want(t, exitDone, h.Run(t, as("bob", "/mnt/work/id -u")...)); r.Stdout != "1235\n" {
			t.Errorf("bob is another: %s", r)
		}
		destroy(t, h, "box")
	})
}

func TestAReadOnlyMachineBootsAndKeepsNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			before := h.Snapshot(t)
			m := create(t, h, fixture("box", "--read-only")...)
			checkMachine(t, h, m)
			for _, script := range []string{
				"touch /etc/x", "touch /usr/bin/x", "touch /root/x", "mount -o remount,rw /", "umount /var && touch /var/x",
			} {
				if r := inMachine(t, h, "box", script); r.Exit == 0 {
					t.Errorf("%s: the root is written to: %s", script, r)
				}
			}
			want(t, exitDone, inMachine(t, h, "box", "touch /var/x /tmp/x"))
			id := inMachine(t, h, "box", "cat /etc/machine-id").Stdout
			want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
			want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
			checkMachine(t, h, m)
			if r := inMachine(t, h, "box", "ls /var/x"); r.Exit == 0 {
				t.Errorf("what was in /var is there still: %s", r)
			}
			if again := inMachine(t, h, "box", "cat /etc/machine-id").Stdout; again != id || len(id) != 33 {
				t.Errorf("its id was %q and is %q", id, again)
			}
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}

func TestAnEphemeralMachineForgets(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := withUsers(t, installFixture(t, kind.start(t, testhost.Options{})))
			before := h.Snapshot(t)
			r := want(t, exitDone, h.Run(t, fixture("box", "--ephemeral", "--bind", "/home/alice/project:/workspace")...))
			if !strings.Contains(r.Stderr, "every start copies ") {
				t.Errorf("it does not say what a start costs: %s", r)
			}
			m := created{Name: "box"}
			m.Address = create(t, h, fixture("box", "--ephemeral", "--bind", "/home/alice/project:/workspace")...).Address
			checkMachine(t, h, m)
			want(t, exitDone, inMachine(t, h, "box", "touch /etc/written /workspace/written"))
			if r := inMachine(t, h, "box", "grep nspawn-build-probe /root/.ssh/authorized_keys"); r.Exit == 0 {
				t.Errorf("the key of the proof is still let in: %s", r)
			}
			id := inMachine(t, h, "box", "cat /etc/machine-id").Stdout
			// Killed, systemd-nspawn leaves the copy behind.
			h.MustRun(t, "pkill", "-KILL", "-x", "systemd-nspawn")
			h.Eventually(t, 20*time.Second, "sh", "-c", "nspawn-build list --output json | grep -q stopped")
			want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
			checkMachine(t, h, m)
			if r := inMachine(t, h, "box", "ls /etc/written"); r.Exit == 0 {
				t.Errorf("what was written is there still: %s", r)
			}
			want(t, exitDone, inMachine(t, h, "box", "ls /workspace/written"))
			if again := inMachine(t, h, "box", "cat /etc/machine-id").Stdout; again != id || len(id) != 33 {
				t.Errorf("its id was %q and is %q", id, again)
			}
			if got := strings.Fields(h.MustRun(t, "ls", "-A", "/root/containers")); len(got) != 3 {
				t.Errorf("beside the tree, the copy and its lock there are %q", got)
			}
			h.MustRun(t, "pkill", "-KILL", "-x", "systemd-nspawn")
			destroy(t, h, "box")
			nothingLeft(t, h, before)
		})
	}
}
