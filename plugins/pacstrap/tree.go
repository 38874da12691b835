package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// machineKeyring is the GPGDir of the machine's own pacman.
const machineKeyring = "etc/pacman.d/gnupg"

// prepare lays out what pacstrap would otherwise make itself: directories with
// the modes that they are to keep, whatever its version and the umask, and the
// machine's own keyring, for whose making the tree's path may be too long.
func (t tree) prepare(keyringFrom string) error {
	if err := t.Own(); err != nil {
		return err
	}
	for _, directory := range []struct {
		name string
		mode fs.FileMode
	}{
		{"dev", 0o755},
		{"etc/pacman.d", 0o755},
		{"proc", 0o555},
		{"run", 0o755},
		{"sys", 0o555},
		{"tmp", 0o777 | fs.ModeSticky},
		{"var/cache/pacman/pkg", 0o755},
		{"var/lib/pacman", 0o755},
		{"var/log", 0o755},
	} {
		if err := t.Mkdir(directory.name); err != nil {
			return err
		}
		if err := t.Chmod(directory.name, directory.mode); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	return t.copyIn(keyringFrom, machineKeyring)
}

// copyIn copies the directories and regular files of a directory of ours, with
// their modes. Sockets are left out: nothing listens on them any more.
func (t tree) copyIn(from, to string) error {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name := filepath.Join(to, relative)
		info, err := entry.Info()
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return errors.Join(t.MkdirAll(name, 0o755), t.Chmod(name, info.Mode().Perm()))
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path) //nolint:gosec // G122: a directory of the job's own
		if err != nil {
			return err
		}
		return errors.Join(t.WriteFile(name, content, 0o600), t.Chmod(name, info.Mode().Perm()))
	})
	if err != nil {
		return fmt.Errorf("the machine's keyring: %w", err)
	}
	return nil
}

// readFile reads a regular file of at most that many bytes.
func (t tree) readFile(name string, limit int64) ([]byte, error) {
	f, err := t.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a file of a sane size", name)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// emptied are the directories whose content is of the bootstrap only. Devices
// are those of whatever boots the tree; lists of packages are out of date by the
// time that somebody wants to install one.
var emptied = []string{"dev", "run", "tmp", "var/cache/pacman/pkg", "var/lib/pacman/sync", "var/tmp"}

// removed are files that the tools leave behind: their own, and what they have
// of the host or of an identity. A pattern's last part may have a *.
var removed = []string{
	"etc/hostname", "etc/ssh/ssh_host_*",
	machineKeyring + "/S.*", machineKeyring + "/*~", machineKeyring + "/.#*", machineKeyring + "/*.lock",
	"var/cache/ldconfig/aux-cache", "var/lib/dbus/machine-id",
	"var/lib/systemd/random-seed", "var/lib/systemd/credential.secret", "var/log/*.log",
}

// finish leaves the tree as a fresh machine, with mirrors of its own.
func (r *run) finish() error {
	if err := target.NoMounts(r.target); err != nil {
		return err
	}
	r.report.Phase(phaseTidy)
	for _, name := range emptied {
		if err := r.tree.Clear(name); err != nil {
			return err
		}
	}
	for _, pattern := range removed {
		if err := r.tree.DeleteMatching(pattern); err != nil {
			return err
		}
	}
	if _, err := r.tree.Lstat("etc/machine-id"); err == nil {
		if err := r.tree.Write("etc/machine-id", nil); err != nil {
			return err
		}
	}
	if err := r.tree.Write("etc/pacman.d/mirrorlist", []byte(r.mirrorList())); err != nil {
		return err
	}
	if err := r.tree.renewable(); err != nil {
		return err
	}
	if r.epoch > 0 {
		if err := r.makeAlike(); err != nil {
			return err
		}
	}
	return r.tree.Own()
}
