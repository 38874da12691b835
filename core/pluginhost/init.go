package pluginhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/pid1"
)

// Init is to be called first thing in main. When the program was started to be
// the first process of a plugin's namespaces, it is that until the plugin has
// ended, and did is true: main then exits with status.
func Init(args []string) (status int, did bool) {
	if len(args) != 2 || args[1] != initArgument {
		return 0, false
	}
	if os.Getpid() != 1 {
		fmt.Fprintf(os.Stderr, "%s is not for use by hand\n", initArgument)
		return 2, true
	}
	// Whatever is done to this process is done to the whole of it, except the
	// parent-death signal of its child, which comes when this thread ends.
	runtime.LockOSThread()
	for fd := fdOrder; fd <= fdReport; fd++ {
		unix.CloseOnExec(fd)
	}
	reports := json.NewEncoder(os.NewFile(fdReport, "report"))
	tell := func(r report) { _ = reports.Encode(r) } // with the host gone, nobody is left to tell
	pid, err := begin(tell)
	if err != nil {
		tell(report{Error: err.Error()})
		return 125, true
	}
	ended, err := pid1.Reap(pid)
	if err != nil {
		tell(report{Error: err.Error()})
		return 125, true
	}
	if ended.Signaled() {
		tell(report{Ended: "killed by " + signalName(ended.Signal())})
		return 128 + int(ended.Signal()), true
	}
	tell(report{Ended: fmt.Sprintf("exit status %d", ended.ExitStatus())})
	return ended.ExitStatus(), true
}

// begin makes the plugin's surroundings and starts it.
func begin(tell func(report)) (pid int, err error) {
	orders := os.NewFile(fdOrder, "order")
	var o order
	if err := json.NewDecoder(orders).Decode(&o); err != nil {
		return 0, fmt.Errorf("reading the order: %w", err)
	}
	go func() {
		// The host never writes more. When it ends, however it ends, all ends:
		// the parent-death signal alone would miss a host that died before it
		// was set.
		_, _ = io.Copy(io.Discard, orders)
		os.Exit(125)
	}()
	if err := enclose(o, func(warning string) { tell(report{Warning: warning}) }); err != nil {
		return 0, err
	}
	binary := os.NewFile(fdBinary, "plugin")
	now, err := stampOf(binary)
	if err != nil {
		return 0, err
	}
	if now != o.Stamp {
		return 0, errors.New("its file was changed after it was verified")
	}
	if err := keepOpenForScript(binary); err != nil {
		return 0, err
	}
	pid, err = syscall.ForkExec(reference(binary), o.Argv, &syscall.ProcAttr{
		Dir:   "/",
		Env:   o.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, fmt.Errorf("starting it: %w", err)
	}
	return pid, nil
}

// keepOpenForScript lets a script's interpreter open the script: it is given
// the name in /proc of a descriptor that must then survive its start.
func keepOpenForScript(f *os.File) error {
	var magic [2]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil || string(magic[:]) != "#!" {
		return nil //nolint:nilerr // an empty file fails to start, with a better message
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)
	return err
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", s)
}
