package stages

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/leftover"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// settleMachineID gives a tree an id of its own where its first boot was to do
// that; see machine-id(5).
func settleMachineID(tree *rootfs.Tree) error {
	have, err := tree.ReadFile(pathMachineID, fileLimit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if id := strings.TrimSpace(string(have)); id != "" && id != "uninitialized" {
		return nil
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return tree.WriteFile(pathMachineID, []byte(hex.EncodeToString(id)+"\n"), 0o444)
}

// removeDevices removes the device nodes that a bootstrap left in /dev. The
// machine never sees them, for systemd-nspawn mounts its own /dev; but its
// service may not make devices, and so could not copy the tree.
func removeDevices(tree *rootfs.Tree) error {
	entries, err := tree.ReadDir("dev")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type()&fs.ModeDevice == 0 {
			continue
		}
		if err := tree.Remove("dev/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// mountPoint makes what a bind is mounted on, unless it is there. Left to
// systemd-nspawn it would belong to nobody, and be missing on a read-only root.
func mountPoint(tree *rootfs.Tree, b binding) error {
	info, err := os.Lstat(b.Source)
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(b.Target, "/")
	if info.IsDir() {
		return tree.MkdirAll(name, 0o755)
	}
	if _, err := tree.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if dir := path.Dir(name); dir != "." {
		if err := tree.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return tree.WriteFile(name, nil, 0o644)
}

// snapshotForm is what systemd-nspawn calls the copy that an ephemeral machine
// runs on, beside its tree: ".#machine.NAME" and sixteen random digits, or, from
// 261 or 262 on, ".#snapshot.NAME" and these.
var snapshotForm = regexp.MustCompile(`^\.#(?:machine|snapshot)\.(.+)[0-9a-f]{16}$`)

// removeSnapshots removes the copies that systemd-nspawn left of a tree because
// it was killed. The machine must not run.
func removeSnapshots(ctx context.Context, tree string) error {
	dir := filepath.Dir(tree)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for copies that a killed systemd-nspawn left: %w", err)
	}
	for _, e := range entries {
		m := snapshotForm.FindStringSubmatch(e.Name())
		if m == nil || m[1] != filepath.Base(tree) || !e.IsDir() {
			continue
		}
		snapshot := filepath.Join(dir, e.Name())
		if err := removeSnapshot(ctx, snapshot); err != nil {
			return fmt.Errorf("removing %s, which a killed systemd-nspawn left: %w", snapshot, err)
		}
	}
	return nil
}

func removeSnapshot(ctx context.Context, snapshot string) error {
	tree, err := rootfs.Open(snapshot)
	if err != nil {
		return err
	}
	id, err := tree.Identity()
	if err := errors.Join(err, tree.Close()); err != nil {
		return err
	}
	if err := rootfs.RemoveTree(ctx, snapshot, id); err != nil {
		return err
	}
	return leftover.RemoveLock(snapshot)
}

// tellCost says what every start of an ephemeral machine copies, where the file
// system cannot make a copy that shares what it holds.
func (s *Settings) tellCost(tree *rootfs.Tree) error {
	if sharesCopies(filepath.Dir(tree.Path())) {
		return nil
	}
	size, err := tree.Size()
	if err != nil {
		return err
	}
	s.Tell(pipeline.Event{
		Stage: s.Name(), Kind: pipeline.Warning,
		Text: fmt.Sprintf("every start copies %d MiB: the file system of %s cannot share them", size>>20, tree.Path()),
		Hint: "btrfs and xfs can: --directory chooses where the tree is kept",
	})
	return nil
}

// sharesCopies tries whether the file system of dir can copy a file without
// copying what is in it. The files that it makes have no name.
func sharesCopies(dir string) bool {
	var files [2]*os.File
	for i := range files {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return false
		}
		files[i] = os.NewFile(uintptr(fd), dir)
		defer files[i].Close()
	}
	if _, err := files[0].Write(make([]byte, 4096)); err != nil {
		return false
	}
	return unix.IoctlFileClone(int(files[1].Fd()), int(files[0].Fd())) == nil
}
