//go:build integration

package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
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

// prepareVariable is set in the run that makes the repository.
const prepareVariable = "NSPAWN_BUILD_TEST_PREPARE"

// prepare makes the repository, outside: that takes apt and gpg-agent.
func prepare() error {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestTheRepositoryIsMade$", "-test.timeout=15m")
	cmd.Env = append(os.Environ(), prepareVariable+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the repository: %w\n%s", err, out)
	}
	return nil
}

func TestTheRepositoryIsMade(t *testing.T) { testrepo.Arch(t) }

// cacheRoot is the directory that testrepo keeps the repository in.
func cacheRoot() string {
	if directory := os.Getenv("NSPAWN_BUILD_TEST_CACHE"); directory != "" {
		return directory
	}
	return "/var/cache/nspawn-build-test"
}

// inner leaves out the log that go test wants written to a place that is covered.
func inner(arguments []string) []string {
	return slices.DeleteFunc(slices.Clone(arguments), func(a string) bool {
		return strings.HasPrefix(a, "-test.testlogfile=")
	})
}
