package sdktest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Inventory describes every file of a tree, by its path: type, mode, owner,
// links, extended attributes, time and content. Two trees that were made alike
// have equal inventories, wherever and whenever they were made. A file that is
// newer than epoch counts as if it were of epoch, as archives of the tree have
// it.
func Inventory(t testing.TB, root string, epoch time.Time) map[string]string {
	t.Helper()
	all, first := map[string]string{}, map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[name], err = inventory(path, name, info, epoch, first)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func inventory(path, name string, info fs.FileInfo, epoch time.Time, first map[uint64]string) (string, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("%s: no stat", path)
	}
	at := info.ModTime()
	if at.After(epoch) {
		at = epoch
	}
	line := fmt.Sprintf("%s %d:%d %s", info.Mode(), stat.Uid, stat.Gid, at.UTC().Format(time.RFC3339))
	attributes, err := attributes(path)
	if err != nil {
		return "", err
	}
	line += attributes
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		return line + " -> " + to, err
	case info.Mode()&fs.ModeDevice != 0:
		return fmt.Sprintf("%s device %d:%d", line, unix.Major(stat.Rdev), unix.Minor(stat.Rdev)), nil
	case !info.Mode().IsRegular():
		return line, nil
	case stat.Nlink > 1 && first[stat.Ino] != "":
		return line + " link to " + first[stat.Ino], nil
	}
	first[stat.Ino] = name
	data, err := os.ReadFile(path)
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%s %d bytes %s", line, len(data), hex.EncodeToString(sum[:])), err
}

// attributes are the extended ones, but for the labels of the host's SELinux.
func attributes(path string) (string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err != nil || n == 0 {
		return "", err
	}
	var line strings.Builder
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if name == "security.selinux" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&line, " %s=%x", name, value[:n])
	}
	return line.String(), nil
}
