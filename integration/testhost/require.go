package testhost

import (
	"os"
	"os/exec"
	"path/filepath"
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

// moduleRoot is the directory of go.mod above the working directory, which
// for a test is that of its package.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("find the module: no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}
