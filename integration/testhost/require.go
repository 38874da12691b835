package testhost

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Unmet ends the test because the machine lacks what it needs: a skip on
// somebody's desk, a failure where CI=true promises a complete machine.
func Unmet(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI=true, and yet %s", reason)
	}
	t.Skip(reason)
}

// Require ends the test as Unmet does unless it runs as root on a machine
// that has all of these programs.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Unmet(t, "this test needs root")
	}
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		Unmet(t, "this test needs "+strings.Join(missing, ", "))
	}
}
