package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// layers are what a host's root is put together from: the cached tree, which
// every host shares and none changes, and what this host writes over it. Where
// machines live the file system is a real one, since an overlay cannot be
// mounted with mapped ids, as systemd-nspawn does.
type layers struct {
	base string // the cached tree
	dir  string // the host's own directory
}

// real are the directories of a host that are not on the overlay.
var real = []string{"root", "home", "srv", "var/lib/machines", "var/cache"}

// tree is where the root is mounted, in the mount namespace of the host's
// outer process and nowhere else.
func (l layers) tree() string { return filepath.Join(l.dir, "tree") }

// upper is where what the host writes is kept.
func (l layers) upper() string { return filepath.Join(l.dir, "upper") }

func (l layers) own(name string) string { return filepath.Join(l.dir, "own", name) }

// prepare makes the directories.
func (l layers) prepare(ctx context.Context) error {
	for _, dir := range []string{l.tree(), l.upper(), filepath.Join(l.dir, "work"), filepath.Join(l.upper(), "etc")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the host's layers: %w", err)
		}
	}
	for _, name := range real {
		if err := os.MkdirAll(filepath.Dir(l.own(name)), 0o755); err != nil {
			return fmt.Errorf("make the host's directories: %w", err)
		}
		out, err := exec.CommandContext(ctx, "cp", "--archive", filepath.Join(l.base, name), l.own(name)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("copy /%s for the host: %w: %s", name, err, out)
		}
	}
	return nil
}

// write puts a file into /etc of a host that has not been started.
func (l layers) write(name, text string, mode os.FileMode) error {
	path := filepath.Join(l.upper(), "etc", name)
	if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		return fmt.Errorf("write /etc/%s for the host: %w", name, err)
	}
	return nil
}

// mount puts the root together in a mount namespace that it makes for the
// calling thread and for the processes that the thread starts.
func (l layers) mount() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// Nothing of it outlives the test: to wait for the disk would be in vain.
	options := "volatile,lowerdir=" + l.base + ",upperdir=" + l.upper() + ",workdir=" + filepath.Join(l.dir, "work")
	if err := unix.Mount("overlay", l.tree(), "overlay", 0, options); err != nil {
		return fmt.Errorf("mount the host's root: %w", err)
	}
	for _, name := range real {
		if err := unix.Mount(l.own(name), filepath.Join(l.tree(), name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount the host's /%s: %w", name, err)
		}
	}
	return nil
}
