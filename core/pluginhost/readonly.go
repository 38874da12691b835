package pluginhost

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// makeReadOnly makes every mount of this namespace read-only.
func makeReadOnly(remount bool, warn func(string)) error {
	if !remount {
		err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE,
			&unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("making the host's files read-only: %w", err)
		}
	}
	return remountReadOnly(warn)
}

// remountReadOnly does the same one mount after the other, for Linux before
// 5.12. A mount that is hidden beneath another cannot be reached, by the plugin
// neither. One that resists is worth a warning.
func remountReadOnly(warn func(string)) error {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("making the host's files read-only: %w", err)
	}
	for _, m := range mounts {
		flags := unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | flagsOf(m.Options)
		err := unix.Mount("", m.Mountpoint, "", flags, "")
		switch {
		case err == nil, errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			// The last two are of a hidden mount.
		case m.Mountpoint == "/":
			return fmt.Errorf("making / read-only: %w", err)
		default:
			warn(fmt.Sprintf("%s stays writable for it: %v", m.Mountpoint, err))
		}
	}
	return nil
}

// flagsOf are the flags that a remount must repeat or it would clear them.
func flagsOf(options string) uintptr {
	names := map[string]uintptr{
		"nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
		"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
		"nosymfollow": unix.MS_NOSYMFOLLOW,
	}
	var flags uintptr
	for option := range strings.SplitSeq(options, ",") {
		flags |= names[option]
	}
	return flags
}
