//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// TestHostsOfEveryFamilyMakeTheirOwnMachines runs on hosts whose own tree was
// installed from the repositories of the tests, as their users have them.
func TestHostsOfEveryFamilyMakeTheirOwnMachines(t *testing.T) {
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
	h := install(t, testhost.StartDirect(t, options(t, testhost.Options{Tree: fedora.open(t).Host(t)}, fedora)))
	before := h.Snapshot(t)
	r := h.Run(t, "nspawn-build", "--distro", "fedora", "--release", fedora.release, "box", "--mirror", "http://"+fedora.site+"/"+fedora.layout)
	want(t, exitUsage, r)
	if !strings.Contains(r.Stderr, "key") {
		t.Errorf("it does not say so: %s", r)
	}
	nothingLeft(t, h, before)
}
