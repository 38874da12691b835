package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountFile mounts the file system of an image file, read-only. What it needs of
// the kernel is freed by itself when the mount goes.
func mountFile(image *os.File, at string) error {
	info, err := image.Stat()
	if err != nil {
		return err
	}
	part, err := rootPartition(image, info.Size())
	if err != nil {
		return &Error{Problem: fmt.Sprintf("image: %s: %s", image.Name(), err), Hint: "name an image in one of the formats directory, tar, oci, squashfs, erofs and raw", Input: true}
	}
	loop, device, err := attach(image, part)
	if err != nil {
		return &Error{Problem: fmt.Sprintf("image: %s cannot be made a block device: %s", image.Name(), err), Hint: "load the module loop, or verify a directory"}
	}
	defer func() { _ = loop.Close() }() // the mount keeps it
	err = unix.Mount(device, at, part.kind, unix.MS_RDONLY|unix.MS_NOATIME, quiet[part.kind])
	if err != nil {
		return &Error{Problem: fmt.Sprintf("image: %s: mounting its %s file system: %s", image.Name(), part.kind, err), Hint: "see that this kernel has that file system, and that the image is whole"}
	}
	return nil
}

// quiet are options by which a file system that was not unmounted in order is
// read as it is: nothing can be repaired in an image that is not to change.
var quiet = map[string]string{"ext4": "noload", "xfs": "norecovery"}

// magics tell file systems apart, by what is where.
var magics = []struct {
	kind string
	at   int64
	text []byte
}{
	{"squashfs", 0, []byte("hsqs")},
	{"erofs", 1024, []byte{0xe2, 0xe1, 0xf5, 0xe0}},
	{"ext4", 1024 + 56, []byte{0x53, 0xef}},
	{"xfs", 0, []byte("XFSB")},
	{"btrfs", 0x10040, []byte("_BHRfS_M")},
}

// kindOf is the kind of the file system that begins there; empty when it is none
// that is known.
func kindOf(r io.ReaderAt, offset int64) string {
	for _, m := range magics {
		found := make([]byte, len(m.text))
		if _, err := r.ReadAt(found, offset+m.at); err == nil && bytes.Equal(found, m.text) {
			return m.kind
		}
	}
	return ""
}

// attach makes a block device of a part of the image. It is gone once it is not
// mounted and the file that stands for it is closed.
func attach(image *os.File, part partition) (loop *os.File, device string, err error) {
	control, err := ownDevice("loop-control", unix.S_IFCHR, unix.Mkdev(10, 237))
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = control.Close() }()
	for range 100 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, "", fmt.Errorf("finding a free loop device: %w", err)
		}
		name := fmt.Sprintf("loop%d", n)
		if loop, err = ownDevice(name, unix.S_IFBLK, unix.Mkdev(7, uint32(n))); err != nil {
			return nil, "", err
		}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &unix.LoopConfig{
			Fd: uint32(image.Fd()),
			Info: unix.LoopInfo64{
				Offset: uint64(part.offset), Sizelimit: uint64(part.size),
				Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR,
			},
		})
		if err == nil {
			return loop, loop.Name(), nil
		}
		if cerr := loop.Close(); !errors.Is(err, unix.EBUSY) { // somebody was faster
			return nil, "", errors.Join(fmt.Errorf("configuring %s: %w", name, err), cerr)
		}
	}
	return nil, "", errors.New("others take every loop device that is free")
}

// ownDevice opens a device by a node of the room's own: the host's /dev, where it
// is a container, need not have it.
func ownDevice(name string, kind uint32, number uint64) (*os.File, error) {
	path := filepath.Join(home, name)
	if err := unix.Mknod(path, kind|0o600, int(number)); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("making a node of %s: %w", name, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		f, err = os.Open(path) // some are for reading only
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	return f, nil
}
