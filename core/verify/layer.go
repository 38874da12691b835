package verify

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/host"
)

// users says which of the host's users those of the machine are.
type users struct {
	base int // the host's number of its root; 0 leaves that to systemd-nspawn
}

// The ranges that systemd-nspawn gives machines, see its UIDS-GIDS.md.
const (
	firstRange = 0x00080000
	lastRange  = 0x6fff0000
	rangeSize  = 0x10000
)

// layer puts a layer in memory above the image. Where the kernel can, the image
// is mounted with the owners that the machine has, at no cost: otherwise
// systemd-nspawn gives every file to the machine's users, of which the layer
// then holds nothing but the owners.
func layer(t Target, image *os.File) (users, error) {
	source := fmt.Sprintf("/proc/self/fd/%d", image.Fd())
	if t.Tree == "" {
		if err := mountFile(image, imageDir); err != nil {
			return users{}, err
		}
		source = imageDir
	}
	tree, err := cloneMount(source)
	if err != nil {
		return users{}, fmt.Errorf("opening %s: %w", image.Name(), err)
	}
	who := anyRange()
	if err := mapped(tree, who); err == nil {
		err = overlay(tree, "")
		if err == nil {
			return who, nil
		}
		// Linux before 5.19 puts no layer above mapped owners.
		_ = unix.Unmount(lowerDir, unix.MNT_DETACH)
	}
	_ = unix.Close(tree)
	if tree, err = cloneMount(source); err != nil {
		return users{}, fmt.Errorf("opening %s: %w", image.Name(), err)
	}
	defer func() { _ = unix.Close(tree) }()
	if err := overlay(tree, ",metacopy=on,redirect_dir=on"); err != nil {
		return users{}, fmt.Errorf("a layer above %s: %w", image.Name(), err)
	}
	return users{}, nil
}

// cloneMount makes a mount of a directory that is not attached to anything yet,
// and that nothing can be written through. What is mounted below is left out.
func cloneMount(path string) (int, error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open_tree (needs Linux 5.2): %w", err)
	}
	change := &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOATIME,
		// A tree needs its device nodes, and its setuid programs.
		Attr_clr: unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR__ATIME,
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, change); err != nil && !errors.Is(err, unix.ENOSYS) {
		return -1, errors.Join(fmt.Errorf("mount_setattr: %w", err), unix.Close(tree))
	}
	return tree, nil
}

// anyRange picks one of the ranges. That two runs have the same is no harm: each
// is in a namespace of its own.
func anyRange() users {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	n := binary.NativeEndian.Uint32(b[:]) % ((lastRange-firstRange)/rangeSize + 1)
	return users{base: firstRange + int(n)*rangeSize}
}

func mapped(tree int, who users) error {
	ns, err := host.UserNamespace(who.base, rangeSize)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	return unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH,
		&unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())})
}

// overlay mounts the tree, and what the machine writes above it. Nothing of that
// outlives the machine: to wait for a disk would be in vain.
func overlay(tree int, options string) error {
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, lowerDir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mounting it: %w", err)
	}
	// The machine's root directory is the layer's.
	var root unix.Stat_t
	if err := unix.Stat(lowerDir, &root); err != nil {
		return fmt.Errorf("looking at it: %w", err)
	}
	if err := errors.Join(os.Chown(upperDir, int(root.Uid), int(root.Gid)), unix.Chmod(upperDir, root.Mode&0o7777)); err != nil {
		return fmt.Errorf("the layer above it: %w", err)
	}
	options = "lowerdir=" + lowerDir + ",upperdir=" + upperDir + ",workdir=" + workDir + options
	err := unix.Mount("overlay", rootDir, "overlay", 0, "volatile,"+options)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.10
		err = unix.Mount("overlay", rootDir, "overlay", 0, options)
	}
	if err != nil {
		return fmt.Errorf("mounting an overlay: %w", err)
	}
	return nil
}
