package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Visit shows every entry of the tree but sockets, a directory before what is
// in it, and what is in it sorted by the bytes of the names: so whatever made
// the tree, wherever it is, the order is the same. leave names directories
// whose content is not shown.
//
// As in Clone nothing is followed or changed, where something is mounted at or
// in the tree there is ErrMounted, and a tree that systemd-nspawn gave to a
// range of users is shown as one of the first range.
func (t *Tree) Visit(ctx context.Context, leave []string, visit func(Entry) error) error {
	if err := t.visit(ctx, leave, visit); err != nil {
		return fmt.Errorf("read tree %q: %w", t.path, err)
	}
	return nil
}

func (t *Tree) visit(ctx context.Context, leave []string, visit func(Entry) error) error {
	root, err := openAt(t.root, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer root.Close()
	doNotTouch(root)
	if !t.alone {
		if err := refuseMounts(root); err != nil {
			return err
		}
	}
	v := &visitor{leave: map[place]bool{}, seen: map[linkKey]string{}, visit: visit}
	at, err := where(root)
	if err != nil {
		return err
	}
	v.mount = at.mount
	if v.shifted, err = isShifted(root); err != nil {
		return err
	}
	if err := t.places(leave, v.leave); err != nil {
		return err
	}
	if v.descriptors, err = openDescriptors(); err != nil {
		return err
	}
	defer v.descriptors.Close()
	return v.directory(ctx, root, ".", 0)
}

// places finds the directories that names lead to; one that is not there is
// none.
func (t *Tree) places(names []string, found map[place]bool) error {
	for _, name := range names {
		dir, err := t.open(name)
		if err != nil {
			continue
		}
		at, err := where(dir)
		if err := errors.Join(err, dir.Close()); err != nil {
			return err
		}
		found[at] = true
	}
	return nil
}

// visitor goes through one tree. It holds directories open all the way down to
// where it is.
type visitor struct {
	mount       uint64
	descriptors *os.File // /proc/self/fd
	shifted     bool
	leave       map[place]bool
	seen        map[linkKey]string // files with several names, under the first
	visit       func(Entry) error
}

func (v *visitor) directory(ctx context.Context, dir *os.File, name string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("there are more than %d directories below one another", deepest)
	}
	st, err := statx(dir)
	if err != nil {
		return err
	}
	e := v.entry(name, &st)
	if e.Xattrs, err = v.xattrs(int(dir.Fd())); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if err := v.visit(e); err != nil {
		return err
	}
	at, err := where(dir)
	if err != nil || v.leave[at] {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, base := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		full := base
		if name != "." {
			full = name + "/" + base
		}
		if err := v.child(ctx, dir, base, full, depth); err != nil {
			return err
		}
	}
	return nil
}

func (v *visitor) child(ctx context.Context, dir *os.File, base, name string, depth int) error {
	handle, err := unix.Openat(int(dir.Fd()), base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%q: %w", name, ErrChanged)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer unix.Close(handle) //nolint:errcheck // holds nothing
	var st unix.Statx_t
	err = unix.Statx(handle, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME|unix.STATX_MNT_ID, &st)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if st.Mnt_id != v.mount || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return fmt.Errorf("%w: %q", ErrMounted, name)
	}
	switch kindOf(uint32(st.Mode)) {
	case 0:
		return nil
	case Directory:
		below, _, err := openSameMount(dir, base, v.mount)
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, fs.ErrNotExist) {
			err = ErrChanged
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		doNotTouch(below)
		return errors.Join(v.directory(ctx, below, name, depth+1), below.Close())
	}
	return v.leaf(handle, name, &st)
}

// entry is what statx tells of one.
func (v *visitor) entry(name string, st *unix.Statx_t) Entry {
	uid, gid := st.Uid, st.Gid
	if v.shifted {
		uid, gid = uid%userRange, gid%userRange
	}
	return Entry{
		Name: name, Kind: kindOf(uint32(st.Mode)), Major: st.Rdev_major, Minor: st.Rdev_minor,
		Attributes: Attributes{
			Mode: uint32(st.Mode) & 0o7777, UID: int(uid), GID: int(gid),
			ModTime: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)),
		},
	}
}

// leaf shows what is no directory.
func (v *visitor) leaf(handle int, name string, st *unix.Statx_t) (err error) {
	e := v.entry(name, st)
	if st.Nlink > 1 {
		key := keyOf(st)
		e.First = v.seen[key]
		if e.First == "" {
			v.seen[key] = name
		}
	}
	switch e.Kind {
	case Symlink:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(handle, "", buf)
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		e.Target = string(buf[:n])
	case File:
		e.Size = int64(st.Size)
		if e.First != "" {
			break
		}
		from, err := reopen(v.descriptors, handle)
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		f := os.NewFile(uintptr(from), name)
		defer f.Close()
		if e.Xattrs, err = v.xattrs(from); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		e.Content = &exactly{from: f, left: e.Size}
	}
	return v.visit(e)
}

// xattrs are those that are carried, as they are where root is root.
func (v *visitor) xattrs(fd int) (map[string]string, error) {
	names, err := listAttributes(fd)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	found := map[string]string{}
	for _, name := range names {
		if !carried(name) {
			continue
		}
		value, err := readAttribute(fd, name)
		if errors.Is(err, unix.ENODATA) {
			continue // removed since
		}
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		if v.shifted {
			value = unshiftAttribute(name, value)
		}
		found[name] = string(value)
	}
	return found, nil
}

// reopen opens the regular file of a handle to read from, by its number in the
// directory of descriptors.
func reopen(descriptors *os.File, handle int) (int, error) {
	// O_NONBLOCK is for leases.
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	number := strconv.Itoa(handle)
	fd, err := unix.Openat(int(descriptors.Fd()), number, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // a file system of somebody else's, such as NFS
		fd, err = unix.Openat(int(descriptors.Fd()), number, flags, 0)
	}
	return fd, err
}
