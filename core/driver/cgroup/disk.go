package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Disk returns the whole disk that holds path, as MAJOR:MINOR: the kernel
// bounds the bandwidth of disks, not of partitions. Where path does not exist
// yet, its nearest parent counts. The error says why there is none.
func Disk(path string) (string, error) {
	for {
		dev, err := device(path)
		if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
			path = filepath.Dir(path)
			continue
		}
		if err != nil {
			return "", err
		}
		return wholeDisk("/sys/dev/block", dev)
	}
}

// SameDisk tells whether two paths, or the nodes of devices, are on one disk. Of
// what cannot be told they are not.
func SameDisk(a, b string) bool {
	first, err := Disk(a)
	if err != nil {
		return false
	}
	second, err := Disk(b)
	return err == nil && first == second
}

// device is the block device of the file system that path is on, or the one
// whose node it is.
func device(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		return numbers(st.Rdev), nil
	}
	if unix.Major(st.Dev) != 0 {
		return numbers(st.Dev), nil
	}
	// No device of its own: btrfs has several, and tmpfs none.
	m, err := mountOf(path)
	if err != nil {
		return "", err
	}
	var source unix.Stat_t
	if m.FSType != "btrfs" || unix.Stat(m.Source, &source) != nil || source.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", fmt.Errorf("%s is on %s, which no single disk holds", path, m.FSType)
	}
	if n := devices("/sys/fs/btrfs", filepath.Base(m.Source)); n > 1 {
		return "", fmt.Errorf("%s is on btrfs over %d devices, and only one can be bounded", path, n)
	}
	return numbers(source.Rdev), nil
}

func numbers(dev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)) }

func mountOf(path string) (*mountinfo.Info, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(path))
	if err != nil {
		return nil, fmt.Errorf("finding the file system of %s: %w", path, err)
	}
	var found *mountinfo.Info
	for _, m := range mounts {
		// Of those at the same place the last one is what is seen.
		if found == nil || len(m.Mountpoint) >= len(found.Mountpoint) {
			found = m
		}
	}
	if found == nil {
		return nil, fmt.Errorf("the file system of %s is unknown", path)
	}
	return found, nil
}

// devices counts those of the btrfs that has one of that name.
func devices(sys, name string) int {
	same, err := filepath.Glob(filepath.Join(sys, "*", "devices", name))
	if err != nil || len(same) == 0 {
		return 1
	}
	all, err := os.ReadDir(filepath.Dir(same[0]))
	if err != nil {
		return 1
	}
	return len(all)
}

// wholeDisk follows a partition to its disk, and what is made of one other
// device (dm-crypt, a volume on one disk) to that.
func wholeDisk(sys, dev string) (string, error) {
	for range 16 { // deeper than anybody stacks
		dir, err := filepath.EvalSymlinks(filepath.Join(sys, dev))
		if err != nil {
			return "", fmt.Errorf("the disk %s is not in %s: %w", dev, sys, err)
		}
		next := ""
		if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
			next = filepath.Dir(dir)
		} else if below, err := os.ReadDir(filepath.Join(dir, "slaves")); err == nil && len(below) == 1 {
			next = filepath.Join(dir, "slaves", below[0].Name())
		}
		if next == "" {
			return dev, nil
		}
		text, err := os.ReadFile(filepath.Join(next, "dev"))
		if err != nil {
			return "", err
		}
		dev = strings.TrimSpace(string(text))
	}
	return "", fmt.Errorf("the disk below %s cannot be found", dev)
}
