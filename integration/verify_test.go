//go:build integration

package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/verify"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

const images = "/root/images"

// makeImage makes an image of the fixture's Debian: what is to be enabled is, and
// it asks for names as an image of nspawn-build does.
func makeImage(t *testing.T, h *testhost.Host) string {
	t.Helper()
	good := images + "/good"
	h.MustRun(t, "sh", "-euc", `mkdir -p "$1"
		tar --extract --zstd --file /var/lib/nspawn-build-fixture/trixie.tar.zst --directory "$1" --numeric-owner --xattrs --xattrs-include='*'
		systemctl --root "$1" enable --quiet systemd-networkd.service systemd-resolved.service ssh.service
		ln -sf ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"`, "sh", good)
	return good
}

// poison makes another image of one, changed by a command of the shell in its
// root directory. What is changed must be made anew: the files are shared.
func poison(t *testing.T, h *testhost.Host, from, name, command string) string {
	t.Helper()
	to := images + "/" + name
	h.MustRun(t, "sh", "-euc", `cp -al "$1" "$2"; cd "$2"; `+command, "sh", from, to)
	return to
}

// fingerprint is of all that an image is: what is in it, whose, and since when.
func fingerprint(t *testing.T, h *testhost.Host, image string) string {
	t.Helper()
	return h.MustRun(t, "sh", "-euc", `tar --create --sort=name --numeric-owner --xattrs --xattrs-include='*' \
		--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime --file - -C "$1" . | sha256sum`, "sh", image)
}

// verifying is the command line that verifies an image.
func verifying(image string, more ...string) []string {
	return append([]string{"nspawn-build", "verify", image, "--output", "json"}, more...)
}

// reported reads what verify printed.
func reported(t *testing.T, r testhost.Result) verify.Report {
	t.Helper()
	var report verify.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
		t.Fatalf("verify did not print JSON: %v: %s", err, r)
	}
	return report
}

// checkNames are those of some checks.
func checkNames(checks []verify.Check) []string {
	var all []string
	for _, c := range checks {
		all = append(all, c.Name)
	}
	return all
}

func TestAGoodImageIsVerifiedAndStaysAsItIs(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := installFixture(t, kind.start(t, testhost.Options{}))
			image := makeImage(t, h)
			print := fingerprint(t, h, image)
			before := h.Calm(t)

			r := want(t, exitDone, h.Run(t, verifying(image, "--check", "test -e /etc/os-release && echo all is there")...))
			report := reported(t, r)
			if !report.OK || report.BootSeconds <= 0 {
				t.Errorf("%+v", report)
			}
			if got := checkNames(report.Checks); !slices.Equal(got, []string{
				verify.Booted, verify.Address, verify.DNS, verify.SSH,
				verify.Command + "test -e /etc/os-release && echo all is there", verify.CleanStop,
			}) {
				t.Errorf("checked: %q", got)
			}
			for _, c := range report.Checks {
				t.Logf("%-12s %5.2f s  %s", c.Name, c.Seconds, c.Detail)
			}
			if got := report.Checks[4].Output; !slices.Equal(got, []string{"all is there"}) {
				t.Errorf("the command's output: %q", got)
			}
			if diff := h.Settled(t, before, 10*time.Second); diff != "" {
				t.Errorf("this is left behind:\n%s", diff)
			}
			if got := fingerprint(t, h, image); got != print {
				t.Errorf("the image was %s and is %s", print, got)
			}
		})
	}
}

// poisoned are images of which one thing is wrong, and what is found of it.
var poisoned = []struct {
	name    string
	command string // that makes it, of the shell in its root directory
	check   string // that fails, and no other
	says    string // what its detail has
	shows   string // what its journal has
	exit    int
	flags   []string
}{
	{
		name: "no-init", command: "rm usr/sbin/init usr/lib/systemd/systemd",
		check: verify.Booted, says: "init", shows: "/sbin/init", exit: exitBoot,
	},
	{
		name: "failed-unit", command: `printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo the cheese is off; exit 3"\n' >etc/systemd/system/cheese.service
			mkdir -p etc/systemd/system/multi-user.target.wants
			ln -s ../cheese.service etc/systemd/system/multi-user.target.wants/cheese.service`,
		check: verify.Booted, says: "cheese.service", shows: "the cheese is off", exit: exitBoot,
	},
	{
		name: "broken-sshd", command: "echo Nonsense yes >etc/ssh/sshd_config.d/bad.conf",
		check: verify.SSH, says: "ssh.service has failed", shows: "Nonsense", exit: exitUnreachable,
	},
	{
		name: "no-networkd", command: "ln -sf /dev/null etc/systemd/system/systemd-networkd.service",
		check: verify.Address, says: "192.0.2.200", shows: "systemd", exit: exitUnreachable, flags: []string{"--check-timeout", "40s"},
	},
	{
		name: "no-resolver", command: "ln -sf /dev/null etc/systemd/system/systemd-resolved.service",
		check: verify.DNS, says: "does not resolve", shows: "systemd", exit: exitUnreachable,
	},
	{
		name: "failing-check", command: "true", flags: []string{"--check", "echo no such luck; exit 7"},
		check: verify.Command + "echo no such luck; exit 7", says: "status 7", shows: "systemd", exit: exitUnreachable,
	},
	{
		name: "endless-check", command: "true", flags: []string{"--check", "sleep 1000", "--check-timeout", "40s"},
		check: verify.Command + "sleep 1000", says: "not within 40s", shows: "systemd", exit: exitUnreachable,
	},
	{
		name: "leaves", command: "true", flags: []string{"--check", "systemctl poweroff"},
		check: verify.CleanStop, says: "it ended by itself", shows: "Power", exit: exitUnreachable,
	},
	{
		name: "reboots", command: "true", flags: []string{"--check", "systemctl reboot"},
		check: verify.CleanStop, says: "status 133", shows: "eboot", exit: exitUnreachable,
	},
	{
		name: "glutton", command: `printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "cat /dev/zero >/all; rm /all; exit 1"\n' >etc/systemd/system/glutton.service
			mkdir -p etc/systemd/system/multi-user.target.wants
			ln -s ../glutton.service etc/systemd/system/multi-user.target.wants/glutton.service`,
		check: verify.Booted, says: "glutton.service", shows: "No space left", exit: exitBoot,
		flags: []string{"--check", "test $(cat /proc/1/oom_score_adj) -ge 500"},
	},
	{
		name: "stubborn", command: `printf '[Service]\nExecStart=/bin/sh -c "trap : TERM; while :; do sleep 1; done"\nTimeoutStopSec=infinity\n' >etc/systemd/system/mule.service
			mkdir -p etc/systemd/system/multi-user.target.wants
			ln -s ../mule.service etc/systemd/system/multi-user.target.wants/mule.service`,
		check: verify.CleanStop, says: "mule.service", shows: "mule.service", exit: exitUnreachable, flags: []string{"--check-timeout", "40s"},
	},
}

func TestWhatIsWrongWithAnImageIsFoundAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := installFixture(t, kind.start(t, testhost.Options{}))
			good := makeImage(t, h)
			before := h.Calm(t)
			for _, p := range poisoned {
				image := poison(t, h, good, p.name, p.command)
				r := want(t, p.exit, h.Run(t, verifying(image, p.flags...)...))
				report := reported(t, r)
				failed := report.Failed()
				if report.OK || !slices.Equal(checkNames(failed), []string{p.check}) {
					t.Errorf("%s: want the check %q to fail, got %s", p.name, p.check, r)
					continue
				}
				f := failed[0]
				if !strings.Contains(f.Detail, p.says) || !strings.Contains(strings.Join(f.Journal, "\n"), p.shows) {
					t.Errorf("%s: it is not said why: %s", p.name, r)
				}
				if !strings.Contains(r.Stderr, f.Journal[0]) {
					t.Errorf("%s: the journal is not printed: %s", p.name, r)
				}
				t.Logf("%-14s %s: %s", p.name, f.Name, f.Detail)
			}
			if diff := h.Settled(t, before, 10*time.Second); diff != "" {
				t.Errorf("this is left behind:\n%s", diff)
			}
		})
	}
}

func TestAnImageFileIsVerifiedAsItIs(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := installFixture(t, kind.start(t, testhost.Options{Packages: []string{"squashfs-tools", "erofs-utils", "e2fsprogs", "fdisk"}}))
			makeImage(t, h)
			h.MustRun(t, "sh", "-euc", `cd "$1"
				mksquashfs good i.squashfs -quiet -no-progress -comp zstd -Xcompression-level 1
				mkfs.erofs --quiet i.erofs good
				truncate --size 2G i.ext4; mkfs.ext4 -q -d good i.ext4
				truncate --size 2100M i.raw
				printf 'label: gpt\nstart=2048, size=8192, type=uefi\nstart=16384, size=4194304, type=linux\n' | sfdisk --quiet i.raw
				dd if=i.ext4 of=i.raw bs=1M seek=8 conv=notrunc,sparse status=none`, "sh", images)
			// All hosts here have one kernel, and see the loop devices of each other.
			mine := map[bool]string{true: images + "-systemd", false: images + "-direct"}[h.Systemd()]
			h.MustRun(t, "mv", images, mine)
			before := h.Calm(t)
			for _, file := range []string{"i.squashfs", "i.erofs", "i.ext4", "i.raw"} {
				sum := h.MustRun(t, "sha256sum", mine+"/"+file)
				report := reported(t, want(t, exitDone, h.Run(t, verifying(mine+"/"+file)...)))
				t.Logf("%-10s up after %.1f s", file, report.BootSeconds)
				if got := h.MustRun(t, "sha256sum", mine+"/"+file); got != sum {
					t.Errorf("%s was %s and is %s", file, sum, got)
				}
			}
			h.MustRun(t, "sh", "-euc", `head -c 100000 /dev/zero >"$1"`, "sh", mine+"/nothing.raw")
			r := want(t, exitUsage, h.Run(t, verifying(mine+"/nothing.raw")...))
			if !strings.Contains(r.Stderr, "hint: ") {
				t.Errorf("there is no hint: %s", r)
			}
			h.MustRun(t, "rm", mine+"/nothing.raw")
			if diff := h.Settled(t, before, 10*time.Second); diff != "" {
				t.Errorf("this is left behind:\n%s", diff)
			}
			if loops := h.MustRun(t, "sh", "-c", "grep -l "+mine+"/ /sys/block/loop*/loop/backing_file 2>/dev/null || true"); loops != "" {
				t.Errorf("loop devices are left: %s", loops)
			}
		})
	}
}

func TestAnImageIsVerifiedWhereOwnersCannotBeMapped(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.StartDirect(t, testhost.Options{}))
	image := makeImage(t, h)
	h.MustRun(t, "cp", "-a", image, "/opt/image") // the host's root is an overlay
	print := fingerprint(t, h, "/opt/image")
	report := reported(t, want(t, exitDone, h.Run(t, verifying("/opt/image")...)))
	t.Logf("up after %.1f s", report.BootSeconds)
	if got := fingerprint(t, h, "/opt/image"); got != print {
		t.Errorf("the image was %s and is %s", print, got)
	}
}

func TestTwoImagesAreVerifiedAtOnceWithTheSameAddresses(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := installFixture(t, kind.start(t, testhost.Options{}))
			image := makeImage(t, h)
			before := h.Calm(t)
			const meet = "sleep 20"
			first := h.Start(t, testhost.Command{Args: verifying(image, "--check", meet)})
			second := h.Start(t, testhost.Command{Args: verifying(image, "--check", meet)})
			h.Eventually(t, 2*time.Minute, "sh", "-c", `test "$(pgrep -fc '[s]ystemd-nspawn --quiet')" -ge 2`)
			for _, p := range []*testhost.Process{first, second} {
				r := want(t, exitDone, p.Wait(t, 3*time.Minute))
				if report := reported(t, r); report.Checks[1].Detail != "192.0.2.200 on host0" {
					t.Errorf("it has %s", report.Checks[1].Detail)
				}
			}
			if diff := h.Settled(t, before, 10*time.Second); diff != "" {
				t.Errorf("this is left behind:\n%s", diff)
			}
		})
	}
}

func TestAVerificationThatIsEndedAmidItLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			h := installFixture(t, kind.start(t, testhost.Options{}))
			image := makeImage(t, h)
			before := h.Calm(t)
			begin := func() *testhost.Process {
				p := h.Start(t, testhost.Command{Args: verifying(image, "--check", "sleep 600")})
				// With the last check before it decided, the command runs.
				if !p.Await(p.Stderr, time.Minute, func(text string) bool { return strings.Contains(text, verify.Booted+": ") }) {
					t.Fatalf("it does not come as far: %s", p.Stderr)
				}
				return p
			}
			t.Run("interrupted", func(t *testing.T) {
				p := begin()
				if h.Systemd() {
					h.MustRun(t, "sh", "-euc", `set -- $(systemctl show --property=MemoryMax --property=MemorySwapMax --property=TasksMax --value 'nspawn-verify-*.scope')
						echo "$@"; test $# -eq 3; for most; do test "$most" != infinity; done`)
				}
				if err := p.Signal(unix.SIGINT); err != nil {
					t.Fatal(err)
				}
				want(t, exitInterrupted, p.Wait(t, time.Minute))
				if diff := h.Settled(t, before, 10*time.Second); diff != "" {
					t.Errorf("this is left behind:\n%s", diff)
				}
			})
			t.Run("killed, nothing of it runs, and the next one clears away the rest", func(t *testing.T) {
				p := begin()
				if err := p.Signal(unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
				p.Wait(t, time.Minute)
				h.Eventually(t, 20*time.Second, "sh", "-c", "! pgrep -f '[s]ystemd-nspawn|[s]leep 600|[v]erify-room'")
				want(t, exitDone, h.Run(t, verifying(image)...))
				if diff := h.Settled(t, before, 10*time.Second); diff != "" {
					t.Errorf("this is left behind:\n%s", diff)
				}
			})
		})
	}
}

func TestAnImageOfDebootstrapIsVerifiedOnAHostOfOldstable(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.Start(t, testhost.Options{Suite: "bookworm", Packages: []string{"debootstrap"}}))
	image := images + "/bookworm"
	h.MustRun(t, "sh", "-euc", `mkdir -p "$(dirname "$1")"
		mirror=$(apt-get indextargets --format '$(REPO_URI)' | head -n1)
		debootstrap --variant=minbase --include=dbus,systemd-sysv,systemd-resolved,openssh-server bookworm "$1" "$mirror" >/dev/null
		systemctl --root "$1" enable --quiet systemd-networkd.service systemd-resolved.service ssh.service
		ln -sf ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"`, "sh", image)
	print := fingerprint(t, h, image)
	before := h.Calm(t)
	report := reported(t, want(t, exitDone, h.Run(t, verifying(image, "--check", "apt-get --version")...)))
	for _, c := range report.Checks {
		t.Logf("%-12s %5.2f s  %s", c.Name, c.Seconds, c.Detail)
	}
	if diff := h.Settled(t, before, 10*time.Second); diff != "" {
		t.Errorf("this is left behind:\n%s", diff)
	}
	if got := fingerprint(t, h, image); got != print {
		t.Errorf("the image was %s and is %s", print, got)
	}
}
