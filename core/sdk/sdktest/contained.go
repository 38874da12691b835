package sdktest

import (
	"errors"
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
// be written to but Scratch, a fresh /tmp and /dev/shm, whatever else is mounted
// on the host, and of which nothing is left. It is for TestMain, which exits with
// what it returns. It needs root, without which nothing is tested, and Linux
// 5.12: what cannot be had is a failure where CI=true.
func RunContained(m *testing.M, c Containment) int {
	switch {
	case os.Getenv(prepareVariable) != "":
		return m.Run()
	case Scratch() != "":
		if err := c.confine(); err != nil {
			fmt.Println(err)
			return 1
		}
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

// containment makes mounts of the directories that can be written to. $0 is the
// scratch directory, then come the writable ones, then "--" and what to run,
// which confines itself.
const containment = `set -e
mount --bind "$0" "$0"
while [ "$1" != -- ]; do mkdir -p "$1"; mount --bind "$1" "$1"; shift; done
shift
exec "$@"`

// confine makes every mount of this namespace read-only, but those of the
// directories that can be written to.
func (c Containment) confine() error {
	readOnly := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, readOnly); err != nil {
		return fmt.Errorf("make the host read-only for the tests (needs Linux 5.12): %w", err)
	}
	writable := &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	for _, dir := range slices.Concat([]string{"/proc", Scratch()}, c.Writable) {
		if err := unix.MountSetattr(unix.AT_FDCWD, dir, 0, writable); err != nil {
			return fmt.Errorf("make %s writable for the tests: %w", dir, err)
		}
	}
	own := map[string]string{"/tmp": "mode=1777", "/dev/shm": "mode=1777"}
	if os.Getenv(memoryVariable) == "yes" {
		own[Scratch()] = "size=6g,mode=0700"
	}
	for dir, options := range own {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("give the tests a %s of their own: %w", dir, err)
		}
	}
	return nil
}

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
