//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestHostsOfEveryFamilyMakeTheirOwnMachines runs on hosts whose own tree was
// installed from the repositories of the tests, as their users have them.
func TestHostsOfEveryFamilyMakeTheirOwnMachines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		distribution
		lacks string // the command that installs what Debian machines take
		own   func(t *testing.T, h *testhost.Host) []string
	}{
		{
			arch, "pacman -S debootstrap",
			// Mirror and keys are those of the host: nothing has to be said.
			func(t *testing.T, h *testhost.Host) []string {
				h.WriteFile(t, "/etc/pacman.d/mirrorlist", "Server = http://"+arch.site+"/"+arch.layout+"\n", "0644")
				return []string{"nspawn-build", "--distro", "arch", "box"}
			},
		},
		{
			fedora, "dnf install debootstrap",
			func(t *testing.T, h *testhost.Host) []string { return fedora.command(t, h, "box") },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := c.open(t).Host(t)
			for _, kind := range kinds {
				t.Run(kind.name, func(t *testing.T) {
					o := options(t, testhost.Options{Tree: tree}, c.distribution)
					h := install(t, kind.start(t, o))
					command := c.own(t, h)
					before := h.Snapshot(t)
					t.Run("what is missing is named with the command that installs it", func(t *testing.T) {
						r := want(t, exitHost, h.Run(t, debian("trixie", "deb")...))
						if !strings.Contains(r.Stderr, c.lacks) {
							t.Errorf("it does not say %q: %s", c.lacks, r)
						}
						nothingLeft(t, h, before)
					})
					m := create(t, h, command...)
					checkMachine(t, h, m)
					if got := release(t, h, m); got != c.name {
						t.Errorf("it says that it is %q", got)
					}
					destroy(t, h, "box")
					nothingLeft(t, h, before)
				})
			}
		})
	}
}

// TestKeysThatAreNotTheDistributionsAreNotTaken is about a host on which a key
// is where Fedora has its own, and is not Fedora's.
func TestKeysThatAreNotTheDistributionsAreNotTaken(t *testing.T) {
	t.Parallel()
	h := install(t, testhost.StartDirect(t, options(t, testhost.Options{Tree: fedora.open(t).Host(t)}, fedora)))
	before := h.Snapshot(t)
	r := h.Run(t, "nspawn-build", "--distro", "fedora", "--release", fedora.release, "box", "--mirror", "http://"+fedora.site+"/"+fedora.layout)
	want(t, exitHost, r)
	if !strings.Contains(r.Stderr, "key") {
		t.Errorf("it does not say so: %s", r)
	}
	nothingLeft(t, h, before)
}

// TestWhatAHostLacksIsInstalledByItsOwnPackageManager runs what the quickstart
// begins with.
func TestWhatAHostLacksIsInstalledByItsOwnPackageManager(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		distribution
		configure, remove, program string
	}{
		{
			arch, "echo 'Server = http://" + arch.site + "/" + arch.layout + "' >/etc/pacman.d/mirrorlist",
			"pacman -Rdd --noconfirm arch-install-scripts", "pacstrap",
		},
		{
			fedora, "rm -f /etc/yum.repos.d/*; printf '[fedora]\\nname=f\\nbaseurl=http://" + fedora.site + "/" + fedora.release +
				"/x86_64\\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-fedora-" + fedora.release + "-primary\\ngpgcheck=1\\n' >/etc/yum.repos.d/fedora.repo",
			"rpm --erase --nodeps openssh-clients", "ssh",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := testhost.StartDirect(t, options(t, testhost.Options{Tree: c.open(t).Host(t)}, c.distribution))
			for _, script := range []string{"install-deps", "find-go"} {
				h.CopyIn(t, "../packaging/"+script, "/srv/packaging/"+script)
			}
			h.MustRun(t, "sh", "-ec", c.configure)
			h.MustRun(t, "sh", "-ec", c.remove)
			if r := h.Run(t, "sh", "-c", "command -v "+c.program); r.Exit == 0 {
				t.Fatalf("it is there still: %s", r)
			}
			r := want(t, exitDone, h.Run(t, "sh", "/srv/packaging/install-deps", "run"))
			if !strings.Contains(r.Stdout, "is missing: ") {
				t.Errorf("it does not say what is missing: %s", r)
			}
			h.MustRun(t, "sh", "-c", "command -v "+c.program)
			again := want(t, exitDone, h.Run(t, "sh", "/srv/packaging/install-deps", "run"))
			if !strings.Contains(again.Stdout, "nothing is missing") {
				t.Errorf("the second time it says %s", again)
			}
		})
	}
}

// TestAGoThatIsTooOldIsNotInstalled is about Debian 12, whose Go cannot fetch
// the toolchain that go.mod names.
func TestAGoThatIsTooOldIsNotInstalled(t *testing.T) {
	t.Parallel()
	h := testhost.StartDirect(t, testhost.Options{Suite: "bookworm"})
	for _, script := range []string{"install-deps", "find-go"} {
		h.CopyIn(t, "../packaging/"+script, "/srv/packaging/"+script)
	}
	h.MustRun(t, "apt-get", "-q", "update")
	r := want(t, exitHost, h.Run(t, "sh", "/srv/packaging/install-deps", "build"))
	if !strings.Contains(r.Stderr, "is Go 1.19, and 1.21 or later is needed") || !strings.Contains(r.Stderr, "\nhint: ") {
		t.Errorf("it does not say so: %s", r)
	}
	if r := h.Run(t, "dpkg", "--status", "golang-go"); r.Exit == 0 {
		t.Errorf("it was installed: %s", r)
	}
}

// TestAHostWithoutNetworkdRunsMachines is what the quickstart does where another
// program has the host's network.
func TestAHostWithoutNetworkdRunsMachines(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	h.MustRun(t, "systemctl", "stop", "systemd-networkd.socket", "systemd-networkd.service")
	before := h.Snapshot(t)
	networkdIsOff := func() {
		t.Helper()
		if r := h.Run(t, "systemctl", "is-active", "systemd-networkd.service"); r.Exit == 0 {
			t.Errorf("networkd was started: %s", r)
		}
	}
	dns := []string{"--dns", testhost.OutsideAddress} // networkd knew it for the host
	r := want(t, exitHost, h.Run(t, fixture("box", "--host-network", "networkd")...))
	if !strings.Contains(r.Stderr, "systemd-networkd.service does not run") || !strings.Contains(r.Stderr, "--host-network builtin") {
		t.Errorf("it does not say why: %s", r)
	}
	nothingLeft(t, h, before)
	for _, c := range []struct {
		more []string
		told int // that networkd does not run: once, to who left the choice
	}{{nil, 1}, {[]string{"--host-network", "builtin"}, 0}, {[]string{"--driver", "direct"}, 0}} {
		r := want(t, exitDone, h.Run(t, fixture("box", slices.Concat(dns, c.more, []string{"--output", "json"})...)...))
		if told := strings.Count(r.Stderr, "systemd-networkd.service does not run"); told != c.told {
			t.Errorf("%q: it is told %d times that networkd does not run: %s", c.more, told, r)
		}
		m := read(t, r)
		checkMachine(t, h, m)
		networkdIsOff()
		destroy(t, h, "box")
		nothingLeft(t, h, before)
	}
	networkdIsOff()
}

// TestNetworkdLeavesABuiltinLinkAlone is about a host on which both could.
func TestNetworkdLeavesABuiltinLinkAlone(t *testing.T) {
	t.Parallel()
	h := installFixture(t, testhost.Start(t, testhost.Options{}))
	before := h.Snapshot(t)
	for _, more := range [][]string{{"--host-network", "builtin"}, {"--driver", "direct"}} {
		m := create(t, h, fixture("box", more...)...)
		checkMachine(t, h, m)
		if got := h.MustRun(t, "networkctl", "--no-pager", "list", "ve-box"); !strings.Contains(got, "unmanaged") {
			t.Errorf("%q: networkd manages the link: %s", more, got)
		}
		h.MustRun(t, "systemctl", "restart", "systemd-networkd.service")
		checkMachine(t, h, m)
		destroy(t, h, "box")
		nothingLeft(t, h, before)
	}
}
