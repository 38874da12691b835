package testrepo

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// What a host that runs nspawn-build has, beside what a machine has.
var (
	archHost = []string{
		"arch-install-scripts", "nftables", "sshpass", "sudo", "iputils", "gnupg", "tar", "zstd",
	}
	fedoraHost = []string{
		"systemd-container", "dnf", "rpm", "nftables", "openssh-clients", "sshpass", "procps-ng", "sudo", "iputils", "gnupg2", "tar", "zstd",
	}
)

// Host returns the tree of a host of the distribution, for testhost.Options.
// It has what a user's host has that makes machines of its own distribution.
func (r *Repo) Host(t testing.TB) string {
	t.Helper()
	if r.Dir == "" {
		t.Skip("the tree of a host is made from the tests' own repository, and this is a real mirror")
	}
	if r.distribution == "opensuse" {
		t.Fatal("its repository has what a machine needs, and not what a host does")
	}
	testhost.Require(t, slices.Concat(archTools, fedoraTools)...)
	ctx, cancel := context.WithTimeout(t.Context(), buildDeadline)
	defer cancel()
	packages := slices.Concat(ArchPackages, archHost)
	install := func(dir, tree string) (string, error) {
		return r.pacstrap(ctx, dir, tree, r.Mirror(), "Required", packages...)
	}
	if r.distribution == "fedora" {
		packages = slices.Concat(FedoraPackages, fedoraHost)
		install = func(dir, tree string) (string, error) {
			return r.dnf(ctx, dir, tree, r.Mirror(), FedoraRelease, "1", packages...)
		}
	}
	tree, err := testhost.CachedHost(ctx, r.distribution, append([]string{r.entry}, packages...), func(tree string) error {
		dir, err := os.MkdirTemp("/var/tmp", "tr") // short: see pacstrap
		if err != nil {
			return fmt.Errorf("make a directory to work in: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // nothing is mounted in it
		if said, err := install(dir, tree); err != nil {
			return fmt.Errorf("%w\n%s", err, said)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("make a host of %s: %v", r.distribution, err)
	}
	return tree
}
