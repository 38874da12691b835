package inside

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/leader"
)

// withDevices is a machine whose /dev a script has filled.
func withDevices(t *testing.T, script string) *leader.Process {
	t.Helper()
	// Without a user namespace, for in one nobody may make a device.
	pid := machine(t, false, "sh", "-ec", "mount --make-rprivate /; mount -t tmpfs tmpfs /dev; mkdir /dev/pts\n"+
		"mount -t devpts -o ptmxmode=666 devpts /dev/pts; cd /dev\n"+script+`; exec "$@"`, "sh")
	p, err := leader.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if name, err := p.Read("comm"); err != nil {
			t.Fatal(err)
		} else if string(name) == "sleep\n" {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatal("the machine is not set up")
		}
	}
}

func TestATerminalIsMadeByTheMachinesOwnMultiplexer(t *testing.T) {
	for name, script := range map[string]string{
		"a link, as systemd-nspawn makes it": "ln -s pts/ptmx ptmx",
		"a link from the machine's root":     "ln -s /dev/pts/ptmx ptmx",
		"the file itself":                    "touch ptmx; mount --bind pts/ptmx ptmx",
	} {
		t.Run(name, func(t *testing.T) {
			pty, err := OpenPty(withDevices(t, script))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = pty.Master.Close() }()
			if err := pty.Resize(Size{Rows: 7, Columns: 9}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWhatAMachinePutsInThePlaceOfItsMultiplexerIsNotOpened has each thing that
// opening would wait for, or do something to.
func TestWhatAMachinePutsInThePlaceOfItsMultiplexerIsNotOpened(t *testing.T) {
	outside := t.TempDir() + "/pipe"
	for name, script := range map[string]string{
		"a pipe":                         "mkfifo ptmx",
		"a link to a pipe":               "mkfifo pipe; ln -s pipe ptmx",
		"a regular file":                 "echo text > ptmx",
		"a directory":                    "mkdir ptmx",
		"a device of another major":      "mknod ptmx c 10 130", // a watchdog: opening it starts it
		"a device of another minor":      "mknod ptmx c 5 0",
		"a block device":                 "mknod ptmx b 5 2",
		"the right numbers, elsewhere":   "mknod ptmx c 5 2",
		"a link to a device of the host": "ln -s /dev/watchdog ptmx; mknod watchdog c 10 130",
		"a link that climbs":             "mkfifo " + outside + "; ln -s ../../../.." + outside + " ptmx",
		"a link by way of a process":     "ln -s /proc/1/root/dev/ptmx ptmx",
		"a terminal":                     "mkfifo pipe; ln -s pts/0 ptmx",
		"a link to itself":               "ln -s ptmx ptmx",
		"nothing":                        "true",
	} {
		t.Run(name, func(t *testing.T) {
			p := withDevices(t, script)
			watched := opened(t, p)
			pty, err := OpenPty(p)
			if err == nil {
				_ = pty.Master.Close()
				t.Fatal("it was taken for the multiplexer")
			}
			if !strings.Contains(err.Error(), "/dev/ptmx") {
				t.Errorf("it is not said what is wrong: %v", err)
			}
			if watched() {
				t.Error("it was opened")
			}
		})
	}
}

// opened tells whether anything was opened in the machine's /dev since.
func opened(t *testing.T, p *leader.Process) func() bool {
	t.Helper()
	root, err := p.OpenFile("root")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	t.Cleanup(func() { _ = events.Close() })
	if _, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d/dev", root.Fd()), unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		n, err := unix.Read(fd, make([]byte, 4096))
		return err == nil && n > 0
	}
}
