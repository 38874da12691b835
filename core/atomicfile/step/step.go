// Package step names the steps by which files get onto a disk, so that a test
// can have any of them fail and can see in which order they are taken. Outside
// of tests nobody watches, and a step is nothing.
package step

import "sync/atomic"

// The steps.
const (
	Create  = "create"
	Write   = "write" // a watcher that fails it has half of the content written
	Sync    = "sync"  // of a file
	Rename  = "rename"
	Names   = "sync names" // of a directory
	Remove  = "remove"
	Mkdir   = "mkdir"
	Symlink = "symlink"
	Tree    = "sync tree" // the whole file system
)

// Watcher is asked before a step is taken; its error is taken for the kernel's.
type Watcher func(step, path string) error

var watcher atomic.Pointer[Watcher]

// Watch has w asked from here on, until the function that it returns is called.
// There is one watcher in a process.
func Watch(w Watcher) (stop func()) {
	watcher.Store(&w)
	return func() { watcher.Store(nil) }
}

// Take is called before a step is taken.
func Take(step, path string) error {
	if w := watcher.Load(); w != nil {
		return (*w)(step, path)
	}
	return nil
}
