package pid1

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also a first process: one that adopts what loses its parent, as
// PID 1 of a namespace does, and says how the process ended that it waited for.
func TestMain(m *testing.M) {
	script, first := os.LookupEnv("PID1_TEST_SCRIPT")
	if !first {
		os.Exit(m.Run())
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	child := exec.Command("/bin/sh", "-c", script)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		panic(err)
	}
	ws, err := Reap(child.Process.Pid)
	if err != nil {
		panic(err)
	}
	left := "left"
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err == syscall.ECHILD { //nolint:errorlint // an errno as it is
		left = "none left"
	}
	fmt.Printf("status %d, %s\n", int(ws), left)
	os.Exit(0)
}

// first runs a script under a first process, and gives what both print.
func first(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PID1_TEST_SCRIPT="+script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestTheStatusIsThatOfTheProcessAskedFor(t *testing.T) {
	for script, want := range map[string]syscall.WaitStatus{
		"exit 0":                  0,
		"exit 7":                  7 << 8,
		"kill -KILL $$":           9,
		"(exit 3) & wait; exit 4": 4 << 8, // its own child is its own to wait for
		"(while ! grep -q '^State:.T' /proc/$$/status; do :; done; kill -CONT $$) & kill -STOP $$; exit 8": 8 << 8, // stopped is not ended
	} {
		if got := first(t, script); !strings.Contains(got, "status "+strconv.Itoa(int(want))+",") {
			t.Errorf("%q: %s, want the status %d", script, got, want)
		}
	}
}

// What loses its parent is adopted, and is not left as a zombie.
func TestOrphansAreReaped(t *testing.T) {
	// The shell between ends at once; a zombie can be signalled, what was reaped
	// cannot.
	got := first(t, "orphan=$(sh -c 'exit 5' >/dev/null & echo $!); while kill -0 $orphan 2>/dev/null; do :; done; exit 6")
	if !strings.Contains(got, "status "+strconv.Itoa(6<<8)+", none left") {
		t.Errorf("%s", got)
	}
}

func TestWhoHasNoChildIsTold(t *testing.T) {
	if _, err := Reap(os.Getpid()); err == nil {
		t.Error("waiting for no child succeeds")
	}
}
