package testhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// hierarchy is a cgroup hierarchy that systemd keeps its processes in: the
// unified one, and on hosts with legacy cgroups the one named systemd as well.
type hierarchy struct {
	Mount   string // where it is mounted, such as /sys/fs/cgroup/unified
	Unified bool
}

// hierarchies finds those of this machine.
func hierarchies() ([]hierarchy, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("look for cgroups: %w", err)
	}
	var all []hierarchy
	for _, m := range mounts {
		options := strings.Split(m.VFSOptions, ",")
		switch {
		case m.FSType == "cgroup2":
			all = append(all, hierarchy{m.Mountpoint, true})
		case m.FSType == "cgroup" && slices.Contains(options, "name=systemd"):
			all = append(all, hierarchy{m.Mountpoint, false})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted that systemd could use")
	}
	return all, nil
}

// RequireLegacyCgroups skips the test where there are none to show to a host.
func RequireLegacyCgroups(t testing.TB) {
	t.Helper()
	found, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(found, func(h hierarchy) bool { return !h.Unified }) {
		t.Skip("this machine has cgroup v2 alone: of legacy cgroups there is nothing to test on it")
	}
}

// cgroupPrefix marks the cgroups that are ours to remove.
const cgroupPrefix = "testhost-"

// makeCgroups makes a cgroup for one host in every hierarchy.
func makeCgroups(host string) ([]string, error) {
	found, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, h := range found {
		dir := filepath.Join(h.Mount, cgroupPrefix+host)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make a cgroup for the host: %w", err)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// removeCgroups removes what makeCgroups made and all that was made below it.
// A cgroup is busy until the last process in it was reaped: that is waited for.
func removeCgroups(host string) error {
	found, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range found {
		dir := filepath.Join(h.Mount, cgroupPrefix+host)
		deadline := time.Now().Add(10 * time.Second)
		err := removeCgroup(dir)
		for ; err != nil && time.Now().Before(deadline); err = removeCgroup(dir) {
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove the cgroup of a host: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeCgroup removes a cgroup after its children; rmdir is all that a
// cgroup's files allow.
func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sessionCgroups makes, beside the cgroup of a host's PID 1, one for the
// commands of a test, as a login on a real host has one: `below` the root that
// the host sees, or /proc/self/cgroup in there would begin with "/..".
func sessionCgroups(leader int) (map[hierarchy]string, error) {
	found, err := hierarchies()
	if err != nil {
		return nil, err
	}
	session := map[hierarchy]string{}
	for _, h := range found {
		path := cgroupOf(filepath.Join("/proc", strconv.Itoa(leader), "cgroup"), h)
		root := strings.TrimSuffix(path, "/init.scope")
		dir := filepath.Join(h.Mount, root, "test-session")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make a cgroup for the test's commands: %w", err)
		}
		session[h] = dir
	}
	return session, nil
}

// joinCgroups makes the calling thread start its next child in the given
// cgroups: legacy hierarchies take single threads, the unified one is told to
// clone. The caller releases what it returns after the start: then the thread
// goes back where it was, for a cgroup with a thread in it cannot be removed.
func joinCgroups(attr *syscall.SysProcAttr, cgroups map[hierarchy]string) (release func(), err error) {
	var undo []func()
	release = func() {
		for _, f := range undo {
			f()
		}
	}
	for h, dir := range cgroups {
		if h.Unified {
			fd, err := os.Open(dir)
			if err != nil {
				return release, fmt.Errorf("open a cgroup: %w", err)
			}
			attr.UseCgroupFD, attr.CgroupFD = true, int(fd.Fd())
			undo = append(undo, func() { _ = fd.Close() })
			continue
		}
		// Opened beforehand: afterwards the thread may be in another mount namespace.
		back, err := os.OpenFile(filepath.Join(h.Mount, threadCgroup(h), "tasks"), os.O_WRONLY, 0)
		if err != nil {
			return release, fmt.Errorf("open the thread's cgroup: %w", err)
		}
		tid := []byte(strconv.Itoa(unix.Gettid()))
		undo = append(undo, func() {
			_, _ = back.Write(tid) // at worst removing the cgroup says that it is busy
			_ = back.Close()
		})
		if err := os.WriteFile(filepath.Join(dir, "tasks"), tid, 0); err != nil {
			return release, fmt.Errorf("join a cgroup: %w", err)
		}
	}
	return release, nil
}

// threadCgroup is the calling thread's path in a hierarchy.
func threadCgroup(h hierarchy) string { return cgroupOf("/proc/thread-self/cgroup", h) }

// cgroupOf reads a path from a process's cgroup file; none reads as the root.
func cgroupOf(file string, h hierarchy) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "/"
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && (h.Unified && fields[1] == "" || !h.Unified && fields[1] == "name=systemd") {
			return fields[2]
		}
	}
	return "/"
}
