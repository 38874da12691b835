package sdktest_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// containedVariable has this binary run its tests contained, with a directory
// that they may write to.
const containedVariable = "SDKTEST_TEST_CONTAINED"

func TestMain(m *testing.M) {
	if dir, contained := os.LookupEnv(containedVariable); contained {
		os.Exit(sdktest.RunContained(m, sdktest.Containment{Writable: []string{dir}}))
	}
	goleak.VerifyTestMain(m)
}

// TestNothingOfTheHostIsWrittenTo is run contained by the next.
func TestNothingOfTheHostIsWrittenTo(t *testing.T) {
	writable, contained := os.LookupEnv(containedVariable)
	if !contained {
		t.Skip("TestContainedTestsWriteWhereTheyMay runs it")
	}
	write := func(dir string) error { return os.WriteFile(filepath.Join(dir, "written-by-a-test"), nil, 0o600) }
	for _, dir := range []string{sdktest.Scratch(), writable, "/tmp", "/dev/shm"} {
		if err := write(dir); err != nil {
			t.Errorf("it cannot write where it may: %v", err)
		}
	}
	for _, dir := range []string{"/", "/etc", "/var/tmp", "/run", "/srv"} {
		if err := write(dir); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v, and should be read-only", dir, err)
			_ = os.Remove(filepath.Join(dir, "written-by-a-test"))
		}
	}
}

// A host has file systems beside the one of its root: /home, or here /srv.
func TestContainedTestsWriteWhereTheyMay(t *testing.T) {
	sdktest.AsRoot(t)
	dir, err := os.MkdirTemp("/var/tmp", "contained-") // /tmp is covered
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what was mounted on it was so elsewhere
	const host = `mount -t tmpfs tmpfs /srv && exec "$@"`
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", host, "sh",
		os.Args[0], "-test.v", "-test.run=^TestNothingOfTheHostIsWrittenTo$")
	cmd.Env = append(os.Environ(), containedVariable+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNothingOfTheHostIsWrittenTo") {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "written-by-a-test")); err != nil {
		t.Errorf("what was written where it may is gone: %v", err)
	}
}
