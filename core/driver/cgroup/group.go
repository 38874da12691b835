package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Group is one control group, of the same name in each hierarchy that systemd
// uses. It need not exist.
type Group struct {
	host Host
	name string
}

// Group returns the group of that name directly below the hierarchies' roots.
func (h Host) Group(name string) Group { return Group{host: h, name: name} }

// Unified returns the group's directory where limits are written, empty on a
// host without cgroup v2.
func (g Group) Unified() string {
	if g.host.Unified == "" {
		return ""
	}
	return filepath.Join(g.host.Unified, g.name)
}

func (g Group) dirs() []string {
	var dirs []string
	for _, root := range g.host.Roots() {
		dirs = append(dirs, filepath.Join(root, g.name))
	}
	return dirs
}

// Create makes the group where it does not exist.
func (g Group) Create() error {
	if len(g.dirs()) == 0 {
		return errors.New("this host has no cgroup hierarchy that systemd could use")
	}
	for _, dir := range g.dirs() {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making a cgroup for the machine: %w", err)
		}
	}
	return nil
}

// Start starts cmd in the group, so that it never was in another. It must be
// called by a goroutine that is locked to its thread.
func (g Group) Start(cmd *exec.Cmd) (err error) {
	if g.host.Named != "" {
		// Hierarchies of v1 hold threads: this one visits, and what it
		// starts stays there.
		back, err := visit(g.host.Named, g.name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, back()) }()
	}
	if g.host.Unified == "" {
		return cmd.Start()
	}
	dir, err := os.Open(g.Unified())
	if err != nil {
		return fmt.Errorf("opening the machine's cgroup: %w", err)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(dir.Fd())
	return errors.Join(cmd.Start(), dir.Close())
}

// visit moves the calling thread and returns how it comes back.
func visit(root, name string) (back func() error, err error) {
	text, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("finding the current cgroup: %w", err)
	}
	home := "/"
	for line := range strings.Lines(string(text)) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), ":name=systemd:"); ok {
			home = path
		}
	}
	move := func(group string) error {
		if err := write(filepath.Join(root, group, "tasks"), strconv.Itoa(unix.Gettid())); err != nil {
			return fmt.Errorf("entering the cgroup %s: %w", group, err)
		}
		return nil
	}
	return func() error { return move(home) }, move(name)
}

// Processes returns the processes in the group and below. A group that does
// not exist has none.
func (g Group) Processes() ([]int, error) {
	var pids []int
	for _, dir := range g.dirs() {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return vanished(err)
			}
			text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for f := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
					pids = append(pids, pid)
				}
			}
			return vanished(err)
		})
		if err != nil {
			return nil, fmt.Errorf("listing the machine's cgroup: %w", err)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// vanished forgives that a group went away while it was looked at.
func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// WaitEmpty returns once no process is left in the group.
func (g Group) WaitEmpty(ctx context.Context) error {
	return g.empty(ctx, func([]int) {})
}

// Kill kills every process in the group, and those that they start meanwhile.
func (g Group) Kill(ctx context.Context) error {
	return g.empty(ctx, func(pids []int) {
		if g.host.Unified != "" {
			// All at once, so that none can fork away; Linux 5.14.
			_ = write(filepath.Join(g.Unified(), "cgroup.kill"), "1")
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may be gone
		}
	})
}

func (g Group) empty(ctx context.Context, each func([]int)) error {
	pause := time.Millisecond
	for {
		pids, err := g.Processes()
		if err != nil || len(pids) == 0 {
			return err
		}
		each(pids)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("waiting for the processes in cgroup %s to end: %w", g.name, context.Cause(ctx))
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// Remove removes the group and all below, which must hold no process. A group
// that does not exist is no error.
func (g Group) Remove(ctx context.Context) error {
	for _, dir := range g.dirs() {
		if err := remove(ctx, dir); err != nil {
			return fmt.Errorf("removing the machine's cgroup: %w", err)
		}
	}
	return nil
}

func remove(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return vanished(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := remove(ctx, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for {
		err := unix.Rmdir(dir)
		if !errors.Is(err, unix.EBUSY) || ctx.Err() != nil {
			return vanished(err)
		}
		time.Sleep(5 * time.Millisecond) // a dead process takes a moment to leave
	}
}
