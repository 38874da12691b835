package testhost

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// newNetwork makes a network namespace and returns a file that stands for it.
// The namespace lives as long as the file is open or a process is in it.
func newNetwork() (*os.File, error) {
	var ns *os.File
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// inNetwork runs f in the network namespace ns. A socket that f opens stays
// in that namespace, whoever uses it afterwards.
func inNetwork(ns *os.File, f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

// onOwnThread runs f on an OS thread that ends with it, so that whatever f
// does to the thread's namespaces cannot reach any other goroutine.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends such a thread
		done <- f()
	}()
	return <-done
}
