package rootfs

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite/procfs"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// refuseMounts fails when this process sees a mount at or below dir.
func refuseMounts(dir *os.File) error {
	path, err := procfs.ProcSelfFdReadlink(dir)
	if err != nil {
		return err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path))
	if err != nil {
		return err
	}
	if len(mounts) == 0 {
		return nil
	}
	points := make([]string, 0, len(mounts))
	for _, m := range mounts {
		points = append(points, fmt.Sprintf("%q", m.Mountpoint))
	}
	return fmt.Errorf("%w: %s", ErrMounted, strings.Join(points, ", "))
}

// openSameMount opens the directory base of dir unless something is mounted
// there. It is what holds when a mount comes after refuseMounts has looked.
func openSameMount(dir *os.File, base string, mount uint64) (*os.File, place, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat2(int(dir.Fd()), base, &unix.OpenHow{
		Flags:   flags,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH,
	})
	switch {
	case errors.Is(err, unix.EXDEV):
		return nil, place{}, ErrMounted
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // old kernel, or a filter on system calls
		fd, err = unix.Openat(int(dir.Fd()), base, flags, 0)
	}
	if err != nil {
		return nil, place{}, err
	}
	f := os.NewFile(uintptr(fd), base)
	at, err := where(f)
	if err == nil && (at.mount != mount || at.mountRoot) {
		err = ErrMounted
	}
	if err != nil {
		return nil, place{}, errors.Join(err, f.Close())
	}
	return f, at, nil
}

// place is which directory an open one is, for as long as it is open
// somewhere.
type place struct {
	major, minor uint32
	ino          uint64
	mount        uint64
	mountRoot    bool
}

// where tells which directory f is and on which mount. Without that nothing
// may be removed: it needs Linux 5.8.
func where(f *os.File) (place, error) {
	st, err := statx(f)
	if err != nil {
		return place{}, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 || st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return place{}, fmt.Errorf("the kernel does not tell mounts apart, Linux 5.8 does: %w", errors.ErrUnsupported)
	}
	return place{
		major:     st.Dev_major,
		minor:     st.Dev_minor,
		ino:       st.Ino,
		mount:     st.Mnt_id,
		mountRoot: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
	}, nil
}
