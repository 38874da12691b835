//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// refused is a command line that cannot be meant, and what the error must
// name: the field and the value.
type refused struct {
	name   string
	args   []string // after "nspawn-build"
	field  string
	values []string
}

// named is a command line in which only the machine's name is wrong.
func named(name string) refused {
	return refused{"the name " + name, []string{"--distro", "fixture", "--", name}, "name", []string{name}}
}

// flagged is a command line in which only that flag is wrong.
func flagged(flag, value, field string) refused {
	return refused{flag + " " + value, []string{"--distro", "fixture", flag + "=" + value, "box"}, field, []string{value}}
}

var badInput = []refused{
	named("../box"),
	named("."),
	named("-box"),
	named("box-"),
	named("_box"),
	named("a..b"),
	named("%i"),
	named("a/b"),
	named("a b"),
	named(strings.Repeat("x", 65)),
	named("destroy"),
	{"no name", []string{"--distro", "fixture"}, "name", nil},
	{"an empty name", []string{"--distro", "fixture", ""}, "name", nil},
	{"no distribution", []string{"box"}, "distro", nil},
	{"an unknown distribution", []string{"--distro", "plan9", "box"}, "distro", []string{"plan9"}},
	flagged("--distro", "../fixture", "distro"),
	flagged("--release", "sarge", "release"),
	flagged("--release", "-o", "release"),
	flagged("--memory-max", "12X", "memory-max"),
	flagged("--memory-max", "1", "memory-max"),
	flagged("--memory-max", "-1G", "memory-max"),
	flagged("--cpu-quota", "50", "cpu-quota"),
	flagged("--cpu-quota", "0%", "cpu-quota"),
	flagged("--io-weight", "20000", "io-weight"),
	flagged("--tasks-max", "many", "tasks-max"),
	flagged("--address", "192.168.210.200", "address"),
	flagged("--address", "192.168.210.255/24", "address"),
	flagged("--address", "127.0.0.2/8", "address"),
	flagged("--address", "203.0.113.77/24", "address"), // the host's own uplink
	{"a gateway elsewhere", []string{"--distro", "fixture", "--address", "192.168.210.200/24", "--gateway", "10.0.0.1", "box"}, "gateway", []string{"10.0.0.1"}},
	flagged("--dns", "nameserver", "dns"),
	flagged("--dns", "127.0.0.53", "dns"),
	flagged("--mirror", "mirror.example.org/debian", "mirror"),
	flagged("--mirror", "-http://mirror.example.org", "mirror"),
	flagged("--keyring", "/nowhere/keyring.gpg", "keyring"),
	flagged("--option", "delay", "option"),
	{"an option's value", []string{"--distro", "fixture", "--option", "delay=soon", "box"}, "options.delay", []string{"soon"}},
	flagged("--option", "colour=red", "colour"),
	flagged("--package", "--yes", "package"),
	flagged("--package", "vim;reboot", "package"),
	flagged("--ssh-key", "/root/.ssh/id_ed25519", "ssh-key"), // the private one
	flagged("--ssh-key", "/nowhere/key.pub", "ssh-key"),
	flagged("--ssh-key", "/etc/passwd", "ssh-key"),
	flagged("--password-file", "/nowhere/password", "password-file"),
	flagged("--password-hash", "plain-text", "password-hash"),
	flagged("--drop-capability", "all", "drop-capability"),
	flagged("--drop-capability", "net_raww", "drop-capability"),
	flagged("--capability", "sys_tiem", "capability"),
	flagged("--system-call-filter", "~ptrase", "system-call-filter"),
	flagged("--system-call-filter", "@mounts", "system-call-filter"),
	flagged("--driver", "docker", "driver"),
	flagged("--timeout", "0s", "timeout"),
	flagged("--on-error", "ignore", "on-error"),
	flagged("--directory", "a\nb", "directory"),
	{"an unknown flag", []string{"--distro", "fixture", "--memory", "1G", "box"}, "memory", nil},
	{"a flag without its value", []string{"--distro", "fixture", "box", "--directory"}, "--directory", nil},
	{"two names", []string{"--distro", "fixture", "box", "box2"}, "box2", nil},
	{"a misspelt command", []string{"destory", "box"}, "destroy", nil},
}

func TestBadInputIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.MustRun(t, "nspawn-build", "plugin", "list") // whatever asking the plugins makes is there now
	before := h.Snapshot(t)
	for _, c := range badInput {
		t.Run(c.name, func(t *testing.T) {
			r := h.Run(t, append([]string{"nspawn-build"}, c.args...)...)
			if r.Exit != exitUsage {
				t.Errorf("want exit 2, got %s", r)
			}
			error, hint := "", ""
			for line := range strings.Lines(r.Stderr) {
				if rest, ok := strings.CutPrefix(line, "error: "); ok && error == "" {
					error = rest
				}
				if rest, ok := strings.CutPrefix(line, "hint: "); ok && hint == "" {
					hint = rest
				}
			}
			secret := c.field == "password-hash" // of which nothing may be shown
			for _, word := range append([]string{c.field}, c.values...) {
				shown := strings.Contains(error+hint, escaped(word))
				if !shown && !(secret && word != c.field) {
					t.Errorf("neither error nor hint name %q: %s", word, r)
				}
				if shown && secret && word != c.field {
					t.Errorf("the hash is shown: %s", r)
				}
			}
			if len(hint) < 8 {
				t.Errorf("there is no hint: %s", r)
			}
			if strings.Contains(r.Stderr, "root:x:0:0") {
				t.Errorf("what is in a file that is no key is shown: %s", r)
			}
			if r.Stdout != "" {
				t.Errorf("a refusal is not a result: %s", r)
			}
		})
	}
	nothingLeft(t, h, before)
}

// escaped is how a value is shown on one line, shortened where it is long.
func escaped(s string) string {
	s = strings.ReplaceAll(s, "\n", `\n`)
	return s[:min(len(s), 60)]
}

// What only the plugin can refuse is not told later than what is wrong with a key.
func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	r := h.Run(t, "nspawn-build", "--distro", "fixture", "--release", "sarge", "--ssh-key", "/nowhere/key.pub", "box")
	if r.Exit != exitUsage {
		t.Errorf("want exit 2, got %s", r)
	}
	has(t, "a refusal", r.Stderr, "/nowhere/key.pub", "sarge")
	r = h.Run(t, "nspawn-build", "--distro", "fixtrue", "--generate-password", "box")
	has(t, "a refusal", r.Stderr, `no plugin makes it`, "hint: did you mean fixture?")
}

// On a terminal somebody would be asked; here nobody can be.
func TestAMachineThatNobodyCouldLogInToIsRefused(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	h.MustRun(t, "rm", "-r", "/root/.ssh")
	before := h.Snapshot(t)
	r := h.Run(t, fixture("box")...)
	if r.Exit != exitUsage {
		t.Errorf("want exit 2, got %s", r)
	}
	for _, flag := range []string{"--ssh-key", "--password-stdin", "--generate-password"} {
		if !strings.Contains(r.Stderr, flag) {
			t.Errorf("%s is not offered: %s", flag, r)
		}
	}
	nothingLeft(t, h, before)
}

// Whoever may call sudo without a password must not be able to have a file of
// somebody else's overwritten by choosing a name.
func TestFilesOfOthersAreNeverOverwritten(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	for _, file := range []string{
		"/etc/systemd/nspawn/box.nspawn", "/etc/systemd/network/50-ve-box.network",
		"/root/containers/box/precious", "/var/lib/machines/box/precious",
		"/etc/systemd/system/systemd-nspawn@box.service.d/50-nspawn-build.conf",
	} {
		t.Run(file, func(t *testing.T) {
			h.WriteFile(t, file, "# somebody else's\n", "0644")
			before := h.Snapshot(t)
			r := h.Run(t, fixture("box", "--memory-max", "1G")...)
			if r.Exit != exitExists || !strings.Contains(r.Stderr, "hint:") {
				t.Errorf("want exit 8 and a hint, got %s", r)
			}
			if got := h.ReadFile(t, file); got != "# somebody else's\n" {
				t.Errorf("it became %q", got)
			}
			if diff := h.Settled(t, before, 0); diff != "" {
				t.Errorf("something was made:\n%s", diff)
			}
			top := slices.IndexFunc([]string{"/root/containers", "/var/lib/machines/box"}, func(p string) bool { return strings.HasPrefix(file, p) })
			if top >= 0 {
				file = []string{"/root/containers", "/var/lib/machines/box"}[top]
			}
			h.MustRun(t, "rm", "-r", file)
		})
	}
}
