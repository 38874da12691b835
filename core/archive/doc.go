// Package archive turns a tree into a tar stream and a tar stream into a tree,
// and compresses such streams.
//
// The same tree gives the same bytes, whenever, wherever and on however many
// processors. A stream that is read is untrusted: it makes entries of the tree
// that it fills, each once, and reaches nothing else; it is never read without
// end. Trees are walked and filled by core/rootfs.
//
// core/transfer has tar streams of its own, for copies from and into a machine
// that runs. What is different there is not for here: its end in the machine is
// led by the machine's own links, has no /proc, writes into directories that
// are there and over what is in them, changes owners, and copies neither
// extended attributes nor devices. What both must know of a stream, where it
// ends, is shared.
package archive

import (
	"errors"
	"fmt"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// ErrBad says that an archive is not what it should be: cut short, damaged, or
// made to do harm. That its tree cannot be written is another error.
var ErrBad = errors.New("the archive is bad")

// ErrTooLarge is an ErrBad that has more bytes than it may.
var ErrTooLarge = errors.New("it holds more than an archive may")

// badError is what is wrong with an archive.
type badError struct{ err error }

func bad(format string, values ...any) error { return &badError{fmt.Errorf(format, values...)} }

func (e *badError) Error() string { return "the archive is bad: " + e.err.Error() }

// Unwrap makes it an ErrBad as well as what it is.
func (e *badError) Unwrap() []error { return []error{ErrBad, e.err} }

// The kernel's prefix-less names of extended attributes are those of PAX
// headers behind this, as GNU tar, bsdtar and others write them.
const xattrPrefix = "SCHILY.xattr."

// DefaultMaxBytes and DefaultMaxFiles are what a tree may hold when nothing
// else is said: far more than any that is meant to be an image.
const (
	DefaultMaxBytes = 256 << 30
	DefaultMaxFiles = 10 << 20
)

type device struct {
	kind         rootfs.Kind
	major, minor uint32
}

// harmless are the devices that trees of distributions come with, which lead to
// no disk and no memory, and what overlayfs takes for a removed file.
var harmless = map[device]bool{
	{rootfs.CharDevice, 0, 0}:    true, // removed
	{rootfs.CharDevice, 1, 3}:    true, // null
	{rootfs.CharDevice, 1, 5}:    true, // zero
	{rootfs.CharDevice, 1, 7}:    true, // full
	{rootfs.CharDevice, 1, 8}:    true, // random
	{rootfs.CharDevice, 1, 9}:    true, // urandom
	{rootfs.CharDevice, 5, 0}:    true, // tty
	{rootfs.CharDevice, 5, 1}:    true, // console
	{rootfs.CharDevice, 5, 2}:    true, // ptmx
	{rootfs.CharDevice, 10, 200}: true, // net/tun
	{rootfs.CharDevice, 10, 229}: true, // fuse
}

// checkDevice refuses devices that are no part of an image.
func checkDevice(name string, d device) error {
	if d.kind == rootfs.Pipe || harmless[d] {
		return nil
	}
	what := "a block device"
	if d.kind == rootfs.CharDevice {
		what = "a device"
	}
	return fmt.Errorf("%q is %s, %d:%d, which no image holds", name, what, d.major, d.minor)
}
