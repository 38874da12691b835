package image

import (
	"errors"
	"fmt"
	"os"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// ErrNoLoop says that this host, or the container that it is, lets nobody have
// a loop device, or that its kernel does not know the file system.
var ErrNoLoop = errors.New("the kernel cannot read the image here")

// openDisk opens the tree in an image that is a file system or holds one. The
// kernel reads it, from a loop device that is gone with the tree, and it is
// mounted nowhere.
func openDisk(path string, f Format) (*rootfs.Tree, error) {
	image, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	kind, options, part := string(f), []string(nil), extent{}
	if f == Raw {
		kind, options = "ext4", []string{"noload"} // read-only, and so without replaying its journal
		if part, err = rootPartition(image); err != nil {
			return nil, err
		}
	}
	device, err := attach(image, part)
	if err != nil {
		return nil, fmt.Errorf("%w: loop device: %w", ErrNoLoop, err)
	}
	defer device.Close()
	root, err := mountAlone(kind, device.Name(), options)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoLoop, kind, err)
	}
	return rootfs.Alone(root, path), nil
}

// extent is a part of a file in bytes; one of no size is all of it.
type extent struct{ at, size uint64 }

// rootPartition is where the partition is that has a type of root partition.
func rootPartition(image *os.File) (extent, error) {
	table, err := gpt.Read(file.New(image, true), sector, sector)
	if err != nil {
		return extent{}, fmt.Errorf("partition table: %w", err)
	}
	for _, p := range table.Partitions {
		for _, kind := range rootTypes {
			if string(p.Type) == kind {
				return extent{p.Start * sector, p.Size}, nil
			}
		}
	}
	return extent{}, errors.New("no partition of it is a root partition")
}

// attach makes a loop device of an image, which goes when it is closed and
// mounted no more. Another program may be quicker to take the number that is free.
func attach(image *os.File, part extent) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	const tries = 64
	for try := 0; ; try++ {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(image.Fd())}
		config.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR
		config.Info.Offset, config.Info.Sizelimit = part.at, part.size
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		if err := errors.Join(err, device.Close()); !errors.Is(err, unix.EBUSY) || try == tries {
			return nil, err
		}
	}
}

// mountAlone mounts a file system and nowhere.
func mountAlone(kind, device string, options []string) (*os.File, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs) //nolint:errcheck // holds nothing
	if err := unix.FsconfigSetString(fs, "source", device); err != nil {
		return nil, err
	}
	for _, flag := range append([]string{"ro"}, options...) {
		if err := unix.FsconfigSetFlag(fs, flag); err != nil {
			return nil, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), device), nil
}
