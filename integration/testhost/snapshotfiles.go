package testhost

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ignored is a path, with all below it, of which a snapshot says nothing, and
// the reason for that.
type ignored struct{ path, because string }

var ignoredFiles = []ignored{
	{"/run/log/journal", "journald writes there all the time"},
	{"/run/systemd/journal/streams", "one file for each service that logs right now"},
	{"/run/systemd/journal/seqnum", "journald counts"},
	{"/run/systemd/machine", "machined's sockets, there from its first call on"},
	{"/run/systemd/userdb", "sockets of services that answer for users, there while they run"},
	{"/run/utmp", "the host's own consoles and logins, which systems before Debian 13 note there at any time"},
	{"/run/agetty.reload", "the host's console looks for new addresses"},
	{"/run/systemd/units", "invocation ids of whatever ran last"},
	{"/run/systemd/transient", "units of logins and scopes, removed when they end"},
	{"/run/systemd/propagate", "one directory for each of the host's services that has run"},
	{"/run/systemd/netif/state", "networkd's summary of all links, with a timestamp of sorts"},
	{"/run/systemd/resolve/netif", "resolved's summary of each link"},
	{"/run/systemd/inhibit", "locks of logind while something runs"},
	{"/run/systemd/nspawn/locks", "files that systemd-nspawn locks; one that is killed leaves them, unlocked"},
	{"/run/systemd/nspawn-uid", "the same, for ranges of user ids"},
	{"/run/credentials", "one directory for each of the host's services that runs"},
	{"/run/systemd/dynamic-uid", "users of the host's services that run"},
	{"/run/dbus", "the bus's own socket and containers"},
	{"/run/host", "what the outer systemd-nspawn tells the host"},
	{"/run/lock", "stale lock files of the host's own tools"},
	{"/run/mount", "umount's own notes"},
	{"/run/motd.dynamic", "written by the host's logins"},
	{"/var/lib/systemd/timers", "when the host's timers last fired"},
	{"/var/lib/systemd/random-seed", "written at any time"},
	{"/var/lib/systemd/catalog", "made by a job of the first boot, which may still run"},
	{"/var/lib/apt", "apt's own state, which the host's timers update"},
	{"/var/lib/dpkg", "backups made by a timer of the host"},
}

// lasting are directories that systemd-nspawn makes for its own use when it
// first runs, and keeps. What is in them is noticed.
var lasting = []string{
	"/run/systemd", "/run/systemd/nspawn", "/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export",
}

// onlyNamed are files whose being there matters and whose content is a service's.
var onlyNamed = []ignored{
	{"/run/systemd/netif/links", "networkd's state of a link, rewritten as it comes up"},
	{"/run/systemd/netif/lldp", "neighbours"},
	{"/run/systemd/resolve", "resolved rewrites its files as links come and go"},
}

func covers(list []ignored, name string) bool {
	for _, i := range list {
		if name == i.path || strings.HasPrefix(name, i.path+"/") {
			return true
		}
	}
	return false
}

// files notes every file below the directories that a machine leaves files in.
func (h *Host) files(_ context.Context, s Snapshot) error {
	for _, top := range []string{"/etc", "/var/lib", "/run"} {
		root := h.Path("/")
		err := filepath.WalkDir(h.Path(top), func(path string, entry fs.DirEntry, err error) error {
			name := filepath.Join("/", strings.TrimPrefix(path, root))
			switch {
			case errors.Is(err, fs.ErrNotExist): // gone since its directory was read
				return nil
			case err != nil:
				return err
			case covers(ignoredFiles, name) && entry.IsDir():
				return fs.SkipDir
			case covers(ignoredFiles, name):
				return nil
			}
			what, err := describe(path, covers(onlyNamed, name))
			if errors.Is(err, fs.ErrNotExist) || slices.Contains(lasting, name) {
				return nil
			}
			s["file "+name] = what
			return err
		})
		if err != nil {
			return fmt.Errorf("look at %s: %w", top, err)
		}
	}
	return nil
}

// describe says everything of a file that an admin could see, except times.
func describe(path string, onlyNamed bool) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	what := info.Mode().String()
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		what += fmt.Sprintf(" %d:%d", owner.Uid, owner.Gid)
	}
	switch {
	case onlyNamed || info.IsDir():
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		what += " -> " + target
	case info.Mode().IsRegular():
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		what += " " + summary(content)
	}
	return what, nil
}

// summary is the content itself where it is short, so that a difference reads
// well, and else its hash.
func summary(content []byte) string {
	if len(content) <= 200 {
		return fmt.Sprintf("%q", content)
	}
	return fmt.Sprintf("%d bytes, sha256 %x", len(content), sha256.Sum256(content))
}
