//go:build integration

package main

import (
	"os"
	"testing"

	"github.com/nspawn-build/nspawn-build/integration/testrepo"
)

// repository is one that pacman can install from.
type repository struct{ mirror, keyring string }

func sound(t *testing.T) repository {
	t.Helper()
	r := testrepo.Arch(t)
	return repository{mirror: r.Mirror(), keyring: r.Keyring}
}

func TestTheRepositoryIsMade(t *testing.T) { testrepo.Arch(t) }

// cacheRoot is the directory that testrepo keeps the repository in.
func cacheRoot() string {
	if directory := os.Getenv("NSPAWN_BUILD_TEST_CACHE"); directory != "" {
		return directory
	}
	return "/var/cache/nspawn-build-test"
}
