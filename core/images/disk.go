package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// freeIn is how many bytes are free where a directory is, or is to be.
func freeIn(dir string) (uint64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	if errors.Is(err, fs.ErrNotExist) {
		err = unix.Statfs(filepath.Dir(dir), &st)
	}
	return st.Bavail * uint64(st.Bsize), err
}

// smallest is a tree than which no system that boots is smaller.
var smallest = image.Extent{Entries: 3000, Bytes: 96 << 20}

// roomBefore refuses an image for which there cannot be room, before anything is
// made: the tree, and what writing it takes.
func roomBefore(w Wanted, dir string) error {
	return enough(dir, smallest.Bytes+needed(w.Image.Formats, smallest, unpacks(w.Image)), "an image", " of the smallest system")
}

// roomFor refuses formats that there is no room for, once it is known how large
// the tree is.
func (b *build) roomFor(formats []string, tree image.Extent) error {
	return enough(b.place.dir, needed(formats, tree, unpacks(b.Image)), strings.Join(formats, ", "), fmt.Sprintf(" of a tree of %s", mib(tree.Bytes)))
}

// needed is about how much room there must be for the formats, one after the
// other, and for the check of what is unpacked again.
func needed(formats []string, tree image.Extent, unpack bool) int64 {
	var kept, most int64
	for _, f := range formats {
		image, meanwhile := image.Room(image.Format(f), tree)
		most = max(most, kept+image+meanwhile)
		kept += image
	}
	if unpack {
		most = max(most, kept+tree.Bytes)
	}
	return most
}

// unpacks tells whether an image is unpacked to be verified.
func unpacks(i spec.Image) bool { return i.Verify && unpacked(image.Format(i.Formats[0])) }

// full names the file system where an error is about one without room.
func (b *build) full(err error) error {
	err = b.Machines.Full(b.place.root(), err)
	var full *machines.FullError
	if errors.As(err, &full) {
		full.Elsewhere = "choose another --out"
	}
	return err
}

func enough(dir string, need int64, what, of string) error {
	free, err := freeIn(dir)
	if err != nil || free >= uint64(need) {
		return nil //nolint:nilerr // who cannot tell does not refuse
	}
	return &machines.HostError{
		Problem: fmt.Sprintf("%s has %s left, where %s%s takes about %s while it is made", dir, mib(int64(free)), what, of, mib(need)),
		Hint:    "make room there, choose another --out, or ask for fewer formats",
	}
}

func mib(bytes int64) string { return fmt.Sprintf("%d MiB", (bytes+1<<20-1)>>20) }

func ownedByRoot(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == 0
}

// syncDir brings everything in a file system to disk.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
