package verify

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Where things are in a room. /run is its own, and so is all of this.
const (
	home      = "/run/verify"
	lowerDir  = home + "/lower" // the image, read-only
	imageDir  = home + "/image" // an image file's file system
	layerDir  = home + "/layer" // what the machine writes, in memory
	upperDir  = layerDir + "/upper"
	workDir   = layerDir + "/work"
	rootDir   = home + "/root" // both: the machine's root
	notify    = home + "/notify"
	identity  = home + "/machine-id"
	logFile   = home + "/console.log"
	machineGr = "/machine" // the machine's cgroup, below the room's
)

// enclose makes the namespaces that this process is alone in so far into what a
// machine of the image can be booted in. It returns whom the machine's users are.
func enclose(t Target) (users, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return users{}, fmt.Errorf("detaching the mounts from the host's: %w", err)
	}
	// The image is taken hold of before anything is hidden that it may be below.
	image, err := openImage(t)
	if err != nil {
		return users{}, err
	}
	defer func() { _ = image.Close() }()
	if err := mountOwn(); err != nil {
		return users{}, err
	}
	if err := directories(lowerDir, imageDir, layerDir, rootDir); err != nil {
		return users{}, err
	}
	most, err := ownBounds()
	if err != nil {
		return users{}, err
	}
	// A tree has device nodes, and setuid programs.
	if err := unix.Mount("tmpfs", layerDir, "tmpfs", 0, most.layer()); err != nil {
		return users{}, fmt.Errorf("a place for what the machine writes: %w", err)
	}
	if err := directories(upperDir, workDir); err != nil {
		return users{}, err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return users{}, fmt.Errorf("finding the loopback link: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return users{}, fmt.Errorf("bringing the loopback link up: %w", err)
	}
	return layer(t, image)
}

func directories(all ...string) error {
	for _, dir := range all {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// openImage opens a directory as a place, and a file for reading.
func openImage(t Target) (*os.File, error) {
	path, flags := t.Image, unix.O_RDONLY
	if t.Tree != "" {
		path, flags = t.Tree, unix.O_PATH|unix.O_DIRECTORY
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// mountOwn mounts what is not to be shared with the host: what systemd-nspawn
// leaves in /run and /tmp when it is killed goes with the room.
func mountOwn() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	for _, m := range []struct {
		kind, target, data string
		flags              uintptr
	}{
		// The process numbers of the host's would be wrong in here.
		{"proc", "/proc", "", flags | unix.MS_NOEXEC},
		// Nodes of loop devices are below /run. The machine has other places to write to.
		{"tmpfs", "/run", "mode=0755,size=64m", unix.MS_NOSUID},
		{"tmpfs", "/tmp", "mode=1777,size=16m", flags},
	} {
		if err := unix.Mount(m.kind, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("a %s of its own: %w", m.target, err)
		}
	}
	return nil
}
