package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// cloned clones the tree of w beside it and returns where the clone is.
func (w world) cloned(t *testing.T, o CloneOptions) (string, Way) {
	t.Helper()
	to := w.path + "-clone"
	way, err := w.tree.Clone(t.Context(), to, o)
	must(t, err)
	return to, way
}

// portrait is everything about the files of a tree that a clone has as well.
func portrait(t *testing.T, root string) map[string]string {
	t.Helper()
	prints := map[string]string{}
	names := map[uint64][]string{} // of each file
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		line := fmt.Sprintf("mode %o owner %d:%d modified %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFSOCK:
			return nil
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" size %d sha256 %x", st.Size, sha256.Sum256(data))
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" device %d", st.Rdev)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			names[st.Ino] = append(names[st.Ino], name)
		}
		prints[name] = line + " " + attributesOf(t, path)
		return nil
	}))
	for _, all := range names {
		for _, name := range all {
			prints[name] += fmt.Sprintf(" also %q", slices.DeleteFunc(slices.Clone(all), func(o string) bool { return o == name }))
		}
	}
	return prints
}

// attributesOf are the extended attributes of a file itself.
func attributesOf(t *testing.T, path string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return ""
	}
	must(t, err)
	var all []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 4096)
		n, err := unix.Lgetxattr(path, name, value)
		must(t, err)
		all = append(all, fmt.Sprintf("%s=%x", name, value[:n]))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// accessed are the times at which files that are no links were read last.
func accessed(t *testing.T, root string) map[string]unix.Timespec {
	t.Helper()
	all := map[string]unix.Timespec{}
	var walk func(string)
	walk = func(path string) {
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			all[path] = st.Atim
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return
		}
		dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOATIME, 0)
		must(t, err)
		defer dir.Close()
		names, err := dir.Readdirnames(-1)
		must(t, err)
		for _, n := range names {
			walk(filepath.Join(path, n))
		}
	}
	walk(root)
	return all
}

// acl is an ACL that lets a user of that number read; see linux/posix_acl_xattr.h.
func acl(user uint32) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, ^uint32(0)}, {2, 4, user}, {4, 4, ^uint32(0)}, {8, 4, user + 1}, {0x10, 4, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		out = binary.LittleEndian.AppendUint16(out, e.tag)
		out = binary.LittleEndian.AppendUint16(out, e.perm)
		out = binary.LittleEndian.AppendUint32(out, e.id)
	}
	return out
}

// capability lets whoever runs a file open raw sockets, in the namespace whose
// root has that id; none means the host's.
func capability(root uint32) []byte {
	revision := uint32(2 << 24)
	if root != 0 {
		revision = 3 << 24
	}
	out := binary.LittleEndian.AppendUint32(nil, revision|1)
	for _, set := range []uint32{1 << 13, 0, 0, 0} {
		out = binary.LittleEndian.AppendUint32(out, set)
	}
	if root != 0 {
		out = binary.LittleEndian.AppendUint32(out, root)
	}
	return out
}

// furnish puts one of each into the tree, owned by users from base on.
func (w world) furnish(t *testing.T, base uint32) {
	t.Helper()
	needRoot(t)
	plant(t, w.in("usr/share"), 300)
	for _, f := range []struct {
		name string
		size int
		mode uint32
		uid  uint32
	}{
		{"etc/shadow", 40, 0o640, 0},
		{"usr/bin-su", 9000, 0o4755, 0},
		{"usr/bin-wall", 1, 0o2755, 5},
		{"usr/lib/large", 3<<20 + 17, 0o644, 0},
		{"usr/lib/buffer", bufferSize, 0o600, 1000},
		{"usr/lib/more", bufferSize + 1, 0o600, 1000},
		{"usr/lib/empty", 0, 0o444, 65534},
		{"usr/lib/ping", 100, 0o755, 0},
		{"usr/lib/with acl\n", 100, 0o640, 0},
	} {
		data := make([]byte, f.size)
		for i := range data {
			data[i] = byte(i*7 + i/251)
		}
		must(t, os.WriteFile(w.in(f.name), data, 0o600))
		must(t, os.Chown(w.in(f.name), int(base+f.uid), int(base+f.uid)))
		must(t, unix.Chmod(w.in(f.name), f.mode))
	}
	must(t, unix.Setxattr(w.in("usr/lib/large"), "user.note", []byte("kept"), 0))
	must(t, unix.Setxattr(w.in("usr/lib/ping"), attrCapability, capability(base), 0))
	must(t, unix.Setxattr(w.in("usr/lib/with acl\n"), attrACL+"access", acl(base+1000), 0))
	must(t, os.MkdirAll(w.in("var/empty dir"), 0o755))
	must(t, unix.Setxattr(w.in("var/empty dir"), attrACL+"default", acl(base+1000), 0))
	must(t, os.Link(w.in("etc/shadow"), w.in("etc/shadow-")))
	must(t, os.Link(w.in("etc/shadow"), w.in("var/shadow")))
	must(t, os.Symlink("/etc/shadow", w.in("etc/link")))
	must(t, os.Link(w.in("etc/link"), w.in("var/link")))
	must(t, os.Symlink("nowhere/"+strings.Repeat("x", 200), w.in("etc/broken")))
	must(t, unix.Mkfifo(w.in("run/pipe"), 0o622))
	must(t, unix.Mknod(w.in("run/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, os.Chmod(w.in("run/null"), 0o666))
	listener, err := net.Listen("unix", w.in("run/socket"))
	must(t, err)
	t.Cleanup(func() { must(t, listener.Close()) })
	must(t, os.Mkdir(w.in("tmp"), 0o700))
	must(t, unix.Chmod(w.in("tmp"), 0o1777))

	sparse, err := os.Create(w.in("var/sparse"))
	must(t, err)
	_, err = sparse.WriteAt([]byte("amid nothing"), 40<<20)
	must(t, errors.Join(err, sparse.Truncate(100<<20), sparse.Close()))

	when := unix.NsecToTimespec(1_600_000_000_123_456_789)
	for _, name := range []string{"etc/link", "usr/lib/large", "run/pipe", "usr/lib", "var", "."} {
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, w.in(name), []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

func TestACloneIsLikeItsOrigin(t *testing.T) {
	w := newWorld(t).guard(t)
	w.furnish(t, 0)
	before, read := portrait(t, w.path), accessed(t, w.path)
	// Nobody has read anything since.
	old := unix.NsecToTimespec(1_500_000_000_000_000_000)
	for path := range read {
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{old, {Nsec: unix.UTIME_OMIT}}, unix.AT_SYMLINK_NOFOLLOW))
	}
	read = accessed(t, w.path)
	to, _ := w.cloned(t, CloneOptions{})
	if diff := cmp.Diff(read, accessed(t, w.path)); diff != "" {
		t.Errorf("the origin was touched (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(before, portrait(t, to)); diff != "" {
		t.Errorf("the clone differs (-origin +clone):\n%s", diff)
	}
	if diff := cmp.Diff(before, portrait(t, w.path)); diff != "" {
		t.Errorf("the origin has changed (-before +after):\n%s", diff)
	}
	if _, err := os.Lstat(filepath.Join(to, "run/socket")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a socket was copied: %v", err)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(to, "var/sparse"), &st))
	if st.Blocks*512 > 1<<20 {
		t.Errorf("the holes of a file take %d bytes", st.Blocks*512)
	}
}

// What systemd-nspawn gave to the users of one machine is given back, so that
// the clone can be given to others.
func TestAShiftedTreeIsClonedAsOneThatIsNot(t *testing.T) {
	const base = 0x1234 << 16
	w := newWorld(t).guard(t)
	w.furnish(t, base)
	plain := newWorld(t)
	plain.furnish(t, 0)
	must(t, filepath.WalkDir(w.path, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		must(t, errors.Join(err, unix.Lstat(path, &st)))
		if st.Uid < userRange { // what furnish did not give away
			must(t, unix.Lchown(path, int(st.Uid+base), int(st.Gid+base)))
			if st.Mode&unix.S_IFMT != unix.S_IFLNK { // giving it away took the special bits
				must(t, unix.Chmod(path, st.Mode&0o7777))
			}
		}
		return nil
	}))
	must(t, unix.Setxattr(w.in("usr/lib/ping"), attrCapability, capability(base), 0))
	to, _ := w.cloned(t, CloneOptions{})
	origin, clone := portrait(t, plain.path), portrait(t, to)
	for name := range origin { // made at different times
		origin[name], clone[name] = withoutTime(origin[name]), withoutTime(clone[name])
	}
	if diff := cmp.Diff(origin, clone); diff != "" {
		t.Errorf("it is not as one that was never shifted (-never +clone):\n%s", diff)
	}
}

func withoutTime(line string) string {
	head, rest, _ := strings.Cut(line, " modified ")
	_, rest, _ = strings.Cut(rest, " ")
	return head + " " + rest
}

func TestWhatIsToBeLeftIsNotCopied(t *testing.T) {
	w := newWorld(t).guard(t)
	must(t, os.MkdirAll(w.in("var/log/journal/0123"), 0o755))
	must(t, os.WriteFile(w.in("var/log/journal/0123/system.journal"), []byte("x"), 0o600))
	must(t, os.WriteFile(w.in("var/log/other"), []byte("x"), 0o600))
	to, _ := w.cloned(t, CloneOptions{Leave: []string{"var/log/journal", "no/such/thing"}})
	if names, err := os.ReadDir(filepath.Join(to, "var/log/journal")); err != nil || len(names) > 0 {
		t.Errorf("what was to be left: %v, %v", names, err)
	}
	if _, err := os.Stat(filepath.Join(to, "var/log/other")); err != nil {
		t.Error(err)
	}
	// Clear comes to the same, and is no error where there is nothing.
	for _, name := range []string{"var/log", "var/log", "no/such/thing", "var/log/other"} {
		must(t, w.tree.Clear(t.Context(), name))
	}
	if names, err := os.ReadDir(w.in("var/log")); err != nil || len(names) > 0 {
		t.Errorf("what was cleared: %v, %v", names, err)
	}
}

func TestATreeInUseIsNotCopied(t *testing.T) {
	w := newWorld(t).guard(t)
	to := w.path + "-clone"
	if _, err := w.tree.Clone(t.Context(), to, CloneOptions{InUse: true}); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	if w.tree.Snapshots(filepath.Dir(w.path)) && !onBtrfsItself(t, w.path) {
		t.Error("it says that a snapshot can be made")
	}
}

func onBtrfsItself(t *testing.T, path string) bool {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(path, &st))
	return st.Type == unix.BTRFS_SUPER_MAGIC
}

func TestACloneEndsWhenItIsAskedTo(t *testing.T) {
	w := newWorld(t).guard(t)
	plant(t, w.in("usr"), 2000)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := w.tree.Clone(ctx, w.path+"-clone", CloneOptions{Progress: func(uint64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

func TestACloneDoesNotGoAcrossMounts(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	w := newWorld(t).guard(t)
	mount(t, w.outside, w.in("usr/lib"), "", unix.MS_BIND)
	for _, late := range []bool{false, true} { // mounted before it looks for mounts, or after
		to := fmt.Sprintf("%s-clone-%v", w.path, late)
		var err error
		if late {
			source := openDir(t, w.path)
			_, err = copyTree(t.Context(), w.tree, source, to, CloneOptions{})
		} else {
			_, err = w.tree.Clone(t.Context(), to, CloneOptions{})
		}
		if !errors.Is(err, ErrMounted) {
			t.Errorf("late %v: %v, want ErrMounted", late, err)
		}
		if _, err := os.Lstat(filepath.Join(to, "usr/lib/file")); err == nil {
			t.Errorf("late %v: what is mounted was copied", late)
		}
	}
}

func TestATreeWithoutABottomIsRefused(t *testing.T) {
	w := newWorld(t).guard(t)
	dir := openDir(t, w.path)
	for range deepest + 10 {
		must(t, unix.Mkdirat(int(dir.Fd()), "d", 0o755))
		next, err := openAt(dir, "d", unix.O_RDONLY|unix.O_DIRECTORY)
		must(t, err)
		dir.Close()
		dir = next
	}
	dir.Close()
	to := w.path + "-clone"
	_, err := w.tree.Clone(t.Context(), to, CloneOptions{})
	if err == nil || !strings.Contains(err.Error(), "directories below another") || len(err.Error()) > 4000 {
		t.Errorf("got %.200v", err)
	}
	must(t, RemoveTree(t.Context(), to, identityOf(t, to)))
	id, err := w.tree.Identity()
	must(t, err)
	must(t, RemoveTree(t.Context(), w.path, id))
}
