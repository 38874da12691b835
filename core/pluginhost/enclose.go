package pluginhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// scratch are the directories that a plugin has to itself.
var scratch = []string{"/tmp", "/var/tmp"}

// scratchSize bounds what a plugin may keep in memory by way of them. Tools put
// little there: what is large belongs into the work directory.
const scratchSize = "512m"

// homeDirectory is the HOME of plugins. Its path is short because tools make
// sockets in it, whose paths may have no more than 107 bytes.
const homeDirectory = "/tmp/home"

// enclose makes the mount namespace that this process is alone in so far into
// what a plugin sees: the host's files, read-only, with the directories of the
// order writable. Nothing of it propagates to the host.
func enclose(o order, warn func(string)) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("detaching the mounts from the host's: %w", err)
	}
	grants, err := openGrants(o)
	if err != nil {
		return err
	}
	if err := makeReadOnly(o.Remount, warn); err != nil {
		return err
	}
	if err := mountOwn(warn); err != nil {
		return err
	}
	for _, g := range grants {
		if err := g.attach(); err != nil {
			return fmt.Errorf("granting %s: %w", g.path, err)
		}
	}
	if err := os.Mkdir(homeDirectory, 0o700); err != nil {
		return err
	}
	unix.Umask(0o022)
	if err := os.Chdir("/"); err != nil {
		return err
	}
	restrain(warn)
	return nil
}

// grant is a file or directory on its way into the namespace.
type grant struct {
	path  string
	tree  int // a mount of it that is not attached to anything yet
	info  unix.Stat_t
	write bool
}

// openGrants takes hold of what is granted before anything is hidden or made
// read-only. The mounts keep the host's flags: what is read-only there stays so.
func openGrants(o order) ([]grant, error) {
	var grants []grant
	for _, list := range []struct {
		paths []string
		write bool
	}{{o.Writable, true}, {o.Readable, false}} {
		for _, path := range list.paths {
			g, err := openGrant(path, list.write, o.Remount)
			if err != nil {
				return nil, fmt.Errorf("granting %s: %w", path, err)
			}
			grants = append(grants, g)
		}
	}
	// What holds another comes first, or it would hide it.
	slices.SortStableFunc(grants, func(a, b grant) int {
		return strings.Count(a.path, "/") - strings.Count(b.path, "/")
	})
	return grants, nil
}

func openGrant(path string, write, remount bool) (grant, error) {
	flags := unix.O_PATH | unix.O_CLOEXEC
	if write {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Open(path, flags, 0)
	if err != nil {
		return grant{}, err
	}
	defer unix.Close(fd) //nolint:errcheck // only a handle
	if !write {
		// Where a link leads, which may be into what will be hidden.
		if path, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
			return grant{}, err
		}
	}
	g := grant{path: path, write: write}
	if err := unix.Fstat(fd, &g.info); err != nil {
		return grant{}, err
	}
	if write && g.info.Mode&unix.S_IFMT != unix.S_IFDIR {
		return grant{}, unix.ENOTDIR
	}
	g.tree, err = unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return grant{}, fmt.Errorf("open_tree (needs Linux 5.2): %w", err)
	}
	if remount {
		return g, nil
	}
	// A tree needs device nodes that work while it is made, also on a file
	// system that is mounted nodev on the host.
	change := &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_NODEV}
	if !write {
		change = &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	}
	if err := unix.MountSetattr(g.tree, "", unix.AT_EMPTY_PATH, change); err != nil && !errors.Is(err, unix.ENOSYS) {
		return grant{}, fmt.Errorf("mount_setattr: %w", err)
	}
	return g, nil
}

// attach puts the mount where its path is, which it makes again if a scratch
// directory hides it.
func (g *grant) attach() error {
	defer unix.Close(g.tree) //nolint:errcheck // only a handle
	if !g.write && g.visible() {
		return nil
	}
	if g.info.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := os.MkdirAll(g.path, 0o755); err != nil { //nolint:gosec // it is mounted over
			return err
		}
	} else if err := makeFile(g.path); err != nil {
		return err
	}
	return unix.MoveMount(g.tree, "", unix.AT_FDCWD, g.path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// visible reports whether its path still leads to it.
func (g *grant) visible() bool {
	var st unix.Stat_t
	return unix.Stat(g.path, &st) == nil && st.Dev == g.info.Dev && st.Ino == g.info.Ino
}

func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as /tmp has it
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// mountOwn mounts what the plugin is not to share with the host.
func mountOwn(warn func(string)) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	for _, dir := range scratch {
		err := unix.Mount("tmpfs", dir, "tmpfs", flags, "mode=1777,nr_inodes=200k,size="+scratchSize)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("a %s of its own: %w", dir, err)
		}
	}
	// The process numbers of the host's would be wrong in here.
	if err := unix.Mount("proc", "/proc", "proc", flags|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("a /proc of its own: %w", err)
	}
	// The rest of /dev works though it is read-only: that is about files.
	err := unix.Mount("tmpfs", "/dev/shm", "tmpfs", flags, "mode=1777,size="+scratchSize)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		warn("no /dev/shm of its own: " + err.Error())
	}
	return nil
}

// restrain sets what should hold for the plugin and its tools. Nothing depends
// on it.
func restrain(warn func(string)) {
	// Tools write the host's name into the tree.
	if err := unix.Sethostname([]byte("localhost")); err != nil {
		warn("sethostname: " + err.Error())
	}
	// Core files of a root process may hold anything.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		warn("no core files: " + err.Error())
	}
	// When memory runs out, a bootstrap is what can best be repeated.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0); err != nil {
		warn("oom_score_adj: " + err.Error())
	}
}
