//go:build integration

package testrepo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// shortDir is a directory that sockets of gpg-agent fit in, gone with the test.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "tr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// installArch installs packages with pacstrap, which must verify them by the
// repository's keyring, and returns the tree and what pacstrap said.
func installArch(t *testing.T, r *Repo, mirror, level string, packages ...string) (tree, said string, err error) {
	t.Helper()
	testhost.Require(t, archTools...)
	dir := shortDir(t)
	tree = filepath.Join(dir, "tree")
	said, err = r.pacstrap(t.Context(), dir, tree, mirror, level, packages...)
	return tree, said, err
}

// installFedora installs packages with dnf, which must verify packages and,
// where repoCheck is 1, the repository's metadata, and returns the tree and
// what dnf said.
func installFedora(t *testing.T, r *Repo, mirror, release, repoCheck string, packages ...string) (tree, said string, err error) {
	t.Helper()
	testhost.Require(t, fedoraTools...)
	dir := shortDir(t)
	tree = filepath.Join(dir, "tree")
	said, err = r.dnf(t.Context(), dir, tree, mirror, release, repoCheck, packages...)
	return tree, said, err
}
