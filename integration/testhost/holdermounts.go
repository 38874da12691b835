package testhost

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bringUplinkUp configures the host's links as networkd would, in the calling
// thread's network namespace.
func bringUplinkUp() error {
	for _, name := range []string{"lo", hostLink} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find the link %s: %w", name, err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
	}
	return addAddress(hostLink, hostPrefix)
}

// treeMount is one mount of a host without systemd, below its tree.
type treeMount struct {
	target, kind, source, data string
	flags                      uintptr
}

const hardened = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV

// treeMounts are those of a CI container that may start containers itself.
// Of /proc/sys only the network's part, which is the namespace's own, is writable.
func treeMounts(cgroups []heldCgroup, legacy bool) []treeMount {
	all := []treeMount{
		{"proc", "proc", "proc", "", hardened},
		{"sys", "sysfs", "sysfs", "", hardened},
		{"dev", "tmpfs", "tmpfs", "mode=0755", unix.MS_NOSUID},
		{"dev/pts", "devpts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5", unix.MS_NOSUID | unix.MS_NOEXEC},
		{"dev/shm", "tmpfs", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
		{"run", "tmpfs", "tmpfs", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmp", "tmpfs", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
		{"var/tmp", "tmpfs", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
	}
	if !legacy || len(cgroups) == 1 {
		return append(all, treeMount{"sys/fs/cgroup", "cgroup2", "cgroup2", "", hardened})
	}
	all = append(all, treeMount{"sys/fs/cgroup", "tmpfs", "tmpfs", "mode=0755", hardened})
	for _, c := range cgroups {
		m := treeMount{filepath.Join("sys/fs/cgroup", filepath.Base(c.Mount)), "cgroup", "cgroup", "none,name=systemd", hardened}
		if c.Unified {
			m.kind, m.data = "cgroup2", ""
		}
		all = append(all, m)
	}
	return all
}

// enterTree makes the tree the root of this process, with mounts of its own
// that no other namespace sees.
func enterTree(order held) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount(order.Tree, order.Tree, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind the host's tree: %w", err)
	}
	for _, m := range treeMounts(order.Cgroups, order.Legacy) {
		target := filepath.Join(order.Tree, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("make a mount point: %w", err)
		}
		if err := unix.Mount(m.source, target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := protectProcSys(filepath.Join(order.Tree, "proc/sys")); err != nil {
		return err
	}
	if err := makeDevices(filepath.Join(order.Tree, "dev")); err != nil {
		return err
	}
	if err := unix.Chdir(order.Tree); err != nil {
		return fmt.Errorf("enter the host's tree: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("make the tree the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	// Shared, as a container manager that mounts into machines expects it.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share the host's mounts: %w", err)
	}
	return unix.Chdir("/")
}

func protectProcSys(dir string) error {
	network := filepath.Join(dir, "net")
	for _, step := range []struct {
		target string
		flags  uintptr
	}{
		{dir, unix.MS_BIND},
		{network, unix.MS_BIND},
		{dir, unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | hardened},
	} {
		if err := unix.Mount(step.target, step.target, "", step.flags, ""); err != nil {
			return fmt.Errorf("protect %s: %w", step.target, err)
		}
	}
	return nil
}

// makeDevices makes the device nodes that any container has.
func makeDevices(dev string) error {
	old := unix.Umask(0)
	defer unix.Umask(old)
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := unix.Mknod(filepath.Join(dev, name), unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	if err := unix.Mknod(filepath.Join(dev, "tty"), unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))); err != nil {
		return fmt.Errorf("make /dev/tty: %w", err)
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	return nil
}
