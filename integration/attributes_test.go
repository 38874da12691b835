//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestWhatFollowsTheNameOfSSHIsTheCommand has commands that ssh would take for
// options of its own, and what programs like rsync do: any bytes both ways.
func TestWhatFollowsTheNameOfSSHIsTheCommand(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	create(t, h, fixture("box")...)
	for _, args := range [][]string{{"box", "--", "-V"}, {"box", "-V"}, {"box", "--", "-x", "y"}} {
		r := h.Run(t, append([]string{"nspawn-build", "ssh"}, args...)...)
		if r.Exit != 2 || !strings.HasPrefix(r.Stderr, "bash: -") { // the machine's shell, which got it
			t.Errorf("%q: %s", args, r)
		}
	}
	if r := h.Run(t, "nspawn-build", "ssh", "box", "echo", "a", "--", "-b"); r.Stdout != "a -- -b\n" {
		t.Errorf("a command with options: %s", r)
	}
	h.MustRun(t, "sh", "-ec", `head -c 20000000 /dev/urandom > /root/bytes
		cat /root/bytes | nspawn-build ssh box cat | cmp - /root/bytes
		nspawn-build ssh box sh -c "'cat > /root/bytes'" < /root/bytes
		nspawn-build ssh box cat /root/bytes | cmp - /root/bytes`)
}

// TestAttributesAreCopiedToAMachineAndBackAndRightsOnlyWithArchive is for
// machines whose users are a range of the host's, running and off.
func TestAttributesAreCopiedToAMachineAndBackAndRightsOnlyWithArchive(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			h := installFixture(t, kind.start(t, testhost.Options{}))
			create(t, h, fixture("box")...)
			// The capability is cap_net_bind_service+ep; what reads and writes it is in
			// every machine that has Perl.
			const capability = `my $c = pack("V5", 0x02000001, 1<<10, 0, 0, 0);`
			const set = capability + ` my ($sys, $f, $n, $v, $k) = (188, "/root/work/program", "user.note", "kept", "security.capability"); syscall($sys, $f, $n, $v, 4, 0) == 0 or die "note: $!"; syscall($sys, $f, $k, $c, 20, 0) == 0 or die "capability: $!";`
			const get = `my ($sys, $f) = (191, $ARGV[0]); for my $name ("user.note", "security.capability") { my $n = $name; my $v = "\0" x 64; my $l = syscall($sys, $f, $n, $v, 64); print "$n=", $l < 0 ? "none" : $n =~ /note/ ? substr($v, 0, $l) : "$l bytes", "\n"; }`
			h.MustRun(t, "sh", "-ec", "mkdir /root/work; cp /usr/bin/true /root/work/program")
			h.MustRun(t, "perl", "-e", set)
			on := func(where []string, file string) string {
				return h.MustRun(t, append(append([]string{}, where...), "perl", "-e", get, file)...)
			}
			host, box := []string{}, []string{"nspawn-build", "exec", "box"}
			const bare, full = "user.note=kept\nsecurity.capability=none\n", "user.note=kept\nsecurity.capability=20 bytes\n"
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-to", "box", "/root/work", "/srv/bare"))
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-to", "--archive", "box", "/root/work", "/srv/full"))
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-from", "box", "/srv/full", "/root/bare"))
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-from", "--archive", "box", "/srv/full", "/root/full"))
			want(t, exitDone, h.Run(t, "nspawn-build", "stop", "box"))
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-to", "--archive", "box", "/root/work", "/srv/off"))
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-from", "box", "/srv/full", "/root/bareoff"))
			want(t, exitDone, h.Run(t, "nspawn-build", "copy-from", "--archive", "box", "/srv/full", "/root/fulloff"))
			want(t, exitDone, h.Run(t, "nspawn-build", "start", "box"))
			for _, c := range []struct {
				where []string
				file  string
				want  string
			}{
				{box, "/srv/bare/program", bare},
				{box, "/srv/full/program", full},
				{box, "/srv/off/program", full},
				{host, "/root/bare/program", bare},
				{host, "/root/full/program", full},
				{host, "/root/bareoff/program", bare},
				{host, "/root/fulloff/program", full},
			} {
				if got := on(c.where, c.file); got != c.want {
					t.Errorf("%s has\n%swant\n%s", c.file, got, c.want)
				}
			}
		})
	}
}
