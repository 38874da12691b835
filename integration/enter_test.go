//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// typed runs a command on a terminal of the host, on which keys are typed, one
// group after the other, each once the words before it are on the screen.
func typed(t *testing.T, h *testhost.Host, command string, keys ...string) testhost.Result {
	t.Helper()
	var script strings.Builder
	script.WriteString("set -u; rm -f /tmp/keys /tmp/screen; mkfifo /tmp/keys; : > /tmp/screen\n")
	fmt.Fprintf(&script, "script -qefc %s /tmp/screen < /tmp/keys > /dev/null & exec 3> /tmp/keys\n", quote("stty rows 33 cols 99; "+command))
	for i := 0; i < len(keys); i += 2 {
		fmt.Fprintf(&script, "for i in $(seq 300); do grep -aqF -- %[1]s /tmp/screen && break; sleep 0.1; done\n"+
			"grep -aqF -- %[1]s /tmp/screen || { echo \"no \"%[1]s; cat /tmp/screen; kill %%1; exit 99; }\n: > /tmp/screen\n", quote(keys[i]))
		fmt.Fprintf(&script, "printf %%b %s >&3\n", quote(keys[i+1]))
	}
	script.WriteString("wait $!; status=$?; cat /tmp/screen; exit $status\n")
	return h.Run(t, "bash", "-c", script.String())
}

func TestOneGetsIntoAMachineWithoutANetwork(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			create(t, h, fixture("box")...)
			h.MustRun(t, "nspawn-build", "exec", "box", "useradd", "-m", "-s", "/bin/bash", "-G", "users", "kim")
			run := func(args ...string) testhost.Result {
				return h.Run(t, append([]string{"nspawn-build"}, args...)...)
			}
			t.Run("exec", func(t *testing.T) {
				for _, c := range []struct {
					args       string
					exit       int
					out, error string
				}{
					{"exec box sh -c echo${IFS}out;echo${IFS}err>&2;exit${IFS}7", 7, "out\n", "err\n"},
					{"exec box no-such-command", 127, "", ""},
					{"exec box /etc/passwd", 126, "", ""},
					{"exec --user kim box id -un", 0, "kim\n", ""},
					{"exec --user kim box id -Gn", 0, "kim users\n", ""},
					{"exec --user kim box sh -c echo${IFS}$HOME", 0, "/home/kim\n", ""},
					{"exec --workdir /var/lib box pwd", 0, "/var/lib\n", ""},
					{"exec -w /nowhere box pwd", 125, "", ""},
					{"exec --env A=b --env C=d box sh -c echo${IFS}$A$C", 0, "bd\n", ""},
					{"exec --tty box echo hello", 0, "hello\n", ""}, // no terminal on our side
				} {
					r := run(strings.Fields(c.args)...)
					if r.Exit != c.exit || r.Stdout != c.out || !strings.Contains(r.Stderr, c.error) {
						t.Errorf("%s: want %d and %q, got %s", c.args, c.exit, c.out, r)
					}
				}
				for _, bad := range []string{"exec --user nobody-there box true", "exec --workdir tmp box true", "exec --env =x box true", "exec box"} {
					if r := run(strings.Fields(bad)...); r.Exit != exitUsage || !strings.Contains(r.Stderr, "hint:") {
						t.Errorf("%s: %s", bad, r)
					}
				}
			})
			t.Run("exec with pipes", func(t *testing.T) {
				h.MustRun(t, "sh", "-c", "head -c 100000000 /dev/urandom > /root/big; nspawn-build exec box cat < /root/big | cmp - /root/big && rm /root/big")
				if r := h.Run(t, "bash", "-o", "pipefail", "-c", "nspawn-build exec box yes | head -n 1"); r.Stdout != "y\n" || r.Held {
					t.Errorf("a reader that goes: %s", r)
				}
			})
			t.Run("exec at a terminal", func(t *testing.T) {
				r := typed(t, h, "nspawn-build exec -t box sh -c 'tty; stty size; echo ready; read -r x; echo got $x; sleep 600'",
					"ready", "word\\n", "got word", "\\003")
				if r.Exit != 130 {
					t.Errorf("^C does not reach the command: %s", r)
				}
				r = typed(t, h, "nspawn-build exec -t box sh -c 'tty; stty size; exit 7'")
				if r.Exit != 7 || !strings.Contains(r.Stdout, "/dev/pts/") || !strings.Contains(r.Stdout, "33 99") {
					t.Errorf("the terminal is not as it should be: %s", r)
				}
			})
			t.Run("shell", func(t *testing.T) {
				r := typed(t, h, "nspawn-build shell box", "# ", "id -un; tty; echo home=$PWD; loginctl --no-legend list-sessions | wc -l\\n", "home=/root", "exit 5\\n")
				if r.Exit != 5 {
					t.Errorf("root's: %s", r)
				}
				r = typed(t, h, "nspawn-build shell kim@box", "$ ", "set -m; id -un; echo home=$PWD; echo job=$-\\n", "home=/home/kim", "exit\\n")
				if r.Exit != 0 || strings.Contains(r.Stdout, "job control") {
					t.Errorf("kim's: %s", r)
				}
				r = typed(t, h, "nspawn-build shell box", "# ", "\\035\\035\\035")
				if r.Exit != 0 {
					t.Errorf("it is not left by ^]^]^]: %s", r)
				}
				if r := run("shell", "--setenv", "WORD=a b'c", "kim@box", "sh", "-c", `echo "$USER $WORD"; exit 3`); r.Exit != 3 || r.Stdout != "kim a b'c\n" {
					t.Errorf("a command in a login: %s", r)
				}
				if r := run("shell", "box"); r.Exit != exitUsage || !strings.Contains(r.Stderr, "hint:") {
					t.Errorf("without a terminal: %s", r)
				}
			})
			t.Run("login", func(t *testing.T) {
				h.MustRun(t, "sh", "-c", "echo kim:secret | nspawn-build exec box chpasswd")
				r := typed(t, h, "nspawn-build login box", "login:", "kim\\n", "assword:", "secret\\n", "$ ", "echo I-am-$(id -un)\\n", "I-am-kim", "\\035\\035\\035")
				if r.Exit != 0 {
					t.Error(r)
				}
				if left := run("exec", "box", "systemctl", "list-units", "--no-legend", "--state=active", "container-getty@*"); left.Stdout != "" {
					t.Errorf("a prompt is left: %s", left)
				}
			})
		})
	}
}

func TestFilesAreCopiedIntoAndOutOfAMachine(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			create(t, h, fixture("box")...)
			h.MustRun(t, "sh", "-ec", `mkdir -p /root/work/sub; cd /root/work; echo text > file; chmod 640 file; ln file sub/same
				ln -s file link; ln -s /etc/shadow out; mkfifo pipe; truncate -s 1G sparse; echo end >> sparse
				cp /usr/bin/true suid; chmod 4755 suid; chown -R 1234:1234 /root/work; chmod 4755 suid; touch -d 2001-02-03 file`)
			list := `cd $1 && find . -printf "%P %y %m %u %l\n" | sort`
			copied := func(dir string) string {
				return h.MustRun(t, "nspawn-build", "exec", "box", "sh", "-c", list, "sh", dir)
			}
			in := want(t, exitDone, h.Run(t, "nspawn-build", "copy-to", "box", "/root/work", "/srv/deep/work"))
			if !strings.Contains(in.Stderr, "pipe") {
				t.Errorf("what was left out is not said: %s", in)
			}
			tree := " d 755 root \nfile f 640 root \nlink l 777 root file\nout l 777 root /etc/shadow\nsparse f 644 root \nsub d 755 root \nsub/same f 640 root \nsuid f 755 root \n"
			if got := copied("/srv/deep/work"); got != tree {
				t.Errorf("this arrived:\n%s\nwant\n%s", got, tree)
			}
			if got := h.MustRun(t, "nspawn-build", "exec", "box", "sh", "-c", "cd /srv/deep/work; stat -c '%h %Y' file; du -m sparse | cut -f1; tail -c4 sparse"); !strings.HasPrefix(got, "2 981158400\n") || strings.Contains(got, "1024") || !strings.HasSuffix(got, "end\n") {
				t.Errorf("links, times or holes are lost: %q", got)
			}
			refused := h.Run(t, "nspawn-build", "copy-to", "box", "/root/work/file", "/srv/deep/work/file")
			if refused.Exit != exitExists || !strings.Contains(refused.Stderr, "--force") {
				t.Errorf("a file is overwritten, or it is not said how: %s", refused)
			}
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-to", "--force", "box", "/root/work", "/srv/deep"))
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-to", "--archive", "box", "/root/work", "/srv/kept"))
			if got := copied("/srv/kept"); !strings.Contains(got, "suid f 4755 1234") {
				t.Errorf("--archive keeps no owners and bits:\n%s", got)
			}

			back := func(dir string) string { return h.MustRun(t, "sh", "-c", list, "sh", dir) }
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-from", "box", "/srv/deep/work", "/root/back"))
			if got := back("/root/back"); got != tree {
				t.Errorf("this came back:\n%s\nwant\n%s", got, tree)
			}
			// What a machine has set up against its host.
			h.MustRun(t, "nspawn-build", "exec", "box", "sh", "-ec", "mkdir /srv/evil; cd /srv/evil; ln -s /etc etc; cp /usr/bin/true suid; chown 0 suid; chmod 6777 suid")
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-from", "box", "/srv/evil", "/root/"))
			if got := back("/root/evil"); got != " d 755 root \netc l 777 root /etc\nsuid f 777 root \n" {
				t.Errorf("this came of a hostile tree:\n%s", got)
			}
			if r := h.Run(t, "nspawn-build", "copy-from", "box", "/srv/evil/etc/hostname", "/root/name"); r.Exit != exitDone || strings.TrimSpace(h.MustRun(t, "cat", "/root/name")) != "box" {
				t.Errorf("a link of the machine leads out of it: %s", r)
			}
			want(t, exitDone, h.Run(t, "bash", "-o", "pipefail", "-c", "nspawn-build copy-from box /srv/deep/work - | nspawn-build copy-to box - /srv/stream"))
			if got := copied("/srv/stream"); got != tree {
				t.Errorf("this came of a stream:\n%s", got)
			}

			want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-to", "box", "/root/work", "/srv/off"))
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-from", "box", "/srv/off", "/root/off"))
			if got := back("/root/off"); got != tree {
				t.Errorf("this came back of a machine that is off:\n%s\nwant\n%s", got, tree)
			}
			want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
			if got := copied("/srv/off"); got != tree {
				t.Errorf("this arrived in a machine that was off:\n%s\nwant\n%s", got, tree)
			}
			for _, bad := range []string{"copy-to box", "copy-to box /root/work relative", "copy-from box / /root/x", "copy-from box relative /root/x"} {
				if r := h.Run(t, append([]string{"nspawn-build"}, strings.Fields(bad)...)...); r.Exit != exitUsage || !strings.Contains(r.Stderr, "hint:") {
					t.Errorf("%s: %s", bad, r)
				}
			}
			if r := h.Run(t, "nspawn-build", "copy-from", "box", "/nowhere", "/root/x"); r.Exit == 0 || !strings.Contains(r.Stderr, "nowhere") {
				t.Errorf("what is not there: %s", r)
			}
		})
	}
}
