package sdktest

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Containment is how RunContained runs tests.
type Containment struct {
	// Prepare is the name of a test that is run first, as the host is: it may
	// make what the others use.
	Prepare string
	// Writable are directories that the tests may write to beside Scratch. They
	// are made if they are missing.
	Writable []string
	// Keep is a directory to leave what the tests make in, to be looked at. It
	// must not be in /tmp, which is covered. Empty means that nothing is left.
	Keep string
}

// The variables that tell the runs of one test binary apart.
const (
	scratchVariable = "SDKTEST_SCRATCH"
	prepareVariable = "SDKTEST_PREPARE"
	memoryVariable  = "SDKTEST_IN_MEMORY"
)

// Scratch is the directory that contained tests may write to.
func Scratch() string { return os.Getenv(scratchVariable) }

// RunContained runs the tests of a plugin that use its real tools, as the host
// runs the plugin: in mount and PID namespaces of their own, where nothing can
// be written to but Scratch and a fresh /tmp, and of which nothing is left. It
// is for TestMain, which exits with what it returns. It needs root: without,
// nothing is tested, which is a failure where CI=true.
func RunContained(m *testing.M, c Containment) int {
	if Scratch() != "" || os.Getenv(prepareVariable) != "" {
		return m.Run()
	}
	if os.Geteuid() != 0 {
		fmt.Println("skipped: these tests need root")
		if os.Getenv("CI") == "true" {
			return 1
		}
		return 0
	}
	if err := c.run(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// containment shows the host read-only. $0 is the scratch directory, then come
// the writable ones, then "--" and what to run.
const containment = `set -e
mount --bind "$0" "$0"
while [ "$1" != -- ]; do mkdir -p "$1"; mount --bind "$1" "$1"; shift; done
shift
mount -o remount,bind,ro /
mount -t tmpfs tmpfs /tmp
if [ "$` + memoryVariable + `" = yes ]; then mount -t tmpfs -o size=6g,mode=0700 tmpfs "$0"; fi
exec "$@"`

func (c Containment) run() error {
	if c.Prepare != "" {
		prepare := exec.Command("/proc/self/exe", "-test.run=^"+c.Prepare+"$", "-test.timeout=15m")
		prepare.Env = append(os.Environ(), prepareVariable+"=1")
		if out, err := prepare.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", c.Prepare, err, out)
		}
	}
	base := c.Keep
	if base == "" {
		base = "/var/tmp"
	}
	scratch, err := os.MkdirTemp(base, "sdktest-")
	if err != nil {
		return err
	}
	if c.Keep == "" {
		defer os.RemoveAll(scratch) //nolint:errcheck // the namespace and its mounts are gone
	}
	// The program itself may be in /tmp.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close() //nolint:errcheck // only run
	// What go test wants logged goes to a place that is covered.
	arguments := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool {
		return strings.HasPrefix(a, "-test.testlogfile=")
	})
	cmd := exec.Command("unshare", slices.Concat(
		[]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-c", containment, scratch},
		c.Writable, []string{"--", "/proc/self/fd/3"}, arguments)...)
	cmd.Env = append(os.Environ(), scratchVariable+"="+scratch, "TMPDIR="+scratch)
	if c.Keep == "" && plentyOfMemory() {
		cmd.Env = append(cmd.Env, memoryVariable+"=yes")
	}
	cmd.ExtraFiles = []*os.File{self}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// plentyOfMemory reports whether trees can be made in memory, which takes half
// the time that it does on a disk.
func plentyOfMemory() bool {
	var info unix.Sysinfo_t
	return unix.Sysinfo(&info) == nil && (info.Freeram+info.Bufferram)*uint64(info.Unit) > 8<<30
}
