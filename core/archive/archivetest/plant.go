// Package archivetest makes trees that hold what archives and images get wrong,
// and tells what is in a tree. It is for tests, which run as root.
package archivetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Plant makes such a tree at root, which is made. Another seed makes the same
// tree in another order, so that its directories and inodes are others on disk.
func Plant(t testing.TB, root string, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // an order, no secret
	check(t, os.MkdirAll(root, 0o755))
	directories := []string{"usr", "usr/bin", "usr/lib", "etc", "dev", "var", "var/empty", "tmp", "usr/share", "with space", "usr/" + strings.Repeat("d", 200)}
	for _, d := range shuffledByDepth(random, directories) {
		check(t, os.Mkdir(filepath.Join(root, d), 0o755))
	}
	things := plants()
	names := slices.Sorted(maps.Keys(things))
	random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		check(t, things[name](filepath.Join(root, name)))
	}
	// The links last, for what they lead to must be there.
	links := map[string]string{"usr/bin/perl5": "usr/bin/perl", "etc/a-perl": "usr/bin/perl", "usr/other-empty": "etc/empty"}
	for to, from := range links {
		check(t, os.Link(filepath.Join(root, from), filepath.Join(root, to)))
	}
	check(t, os.Chmod(filepath.Join(root, "tmp"), 0o777|os.ModeSticky))
	check(t, os.Chown(filepath.Join(root, "var/empty"), 101, 65534))
	check(t, unix.Setxattr(filepath.Join(root, "var"), "user.on.a.directory", []byte("x\x00y"), 0))
	settle(t, root)
}

// Old is when everything in a planted tree was changed, but for what Young
// names, which are newer by a moment that differs with every planting.
var Old = time.Date(2024, 2, 29, 12, 30, 1, 0, time.UTC)

// Young names what is newer than Old.
const Young = "etc/young"

func settle(t testing.TB, root string) {
	t.Helper()
	at := []unix.Timespec{unix.NsecToTimespec(Old.UnixNano()), unix.NsecToTimespec(Old.UnixNano())}
	check(t, filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(name, Young) {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, name, at, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

func plants() map[string]func(string) error {
	file := func(content string, mode os.FileMode) func(string) error {
		return func(name string) error {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				return err
			}
			return os.Chmod(name, mode)
		}
	}
	link := func(target string) func(string) error {
		return func(name string) error { return os.Symlink(target, name) }
	}
	all := map[string]func(string) error{
		"etc/empty":                    file("", 0o644),
		"etc/young":                    file("made just now\n", 0o600),
		"etc/shadow":                   func(n string) error { return join(file("root:*:\n", 0o640)(n), os.Chown(n, 0, 42)) },
		"etc/far":                      func(n string) error { return join(file("far\n", 0o640)(n), os.Chown(n, 4000000, 3000000)) },
		"usr/bin/perl":                 file(strings.Repeat("#!perl\n", 40000), 0o755),
		"usr/bin/su":                   file("setuid\n", 0o4755|os.ModeSetuid),
		"usr/bin/wall":                 file("setgid\n", 0o755|os.ModeSetgid),
		"usr/lib/big":                  file(strings.Repeat("0123456789abcdef", 50000), 0o644),
		"usr/lib/sparse":               sparse,
		"usr/share/naïve ☃":            file("UTF-8\n", 0o644),
		"usr/share/not\xffutf8":        file("bytes\n", 0o644),
		"usr/share/new\nline\\ \"q\" ": file("odd\n", 0o644),
		"usr/share/-rf":                file("no option\n", 0o644),
		"usr/share/#comment":           file("no comment\n", 0o644),
		"usr/" + strings.Repeat("d", 200) + "/" + strings.Repeat("n", 254): file("long\n", 0o644),
		"bin":              link("usr/bin"),
		"etc/resolv.conf":  link("/run/systemd/resolve/stub-resolv.conf"),
		"etc/up":           link("../../../../../../etc/shadow"),
		"etc/long":         link("/" + strings.Repeat("l/", 200)),
		"usr/bin/ping":     withAttributes("security.capability", capability),
		"usr/lib/labelled": withAttributes("user.zz", "last", "user.a", "first", "user.middle", strings.Repeat("m", 300), "trusted.t", "1"),
		"var/fifo":         func(n string) error { return join(unix.Mkfifo(n, 0o600), os.Chmod(n, 0o620)) },
	}
	for name, number := range map[string][2]uint32{"null": {1, 3}, "tty": {5, 0}} {
		all["dev/"+name] = func(n string) error {
			return join(unix.Mknod(n, unix.S_IFCHR|0o666, int(unix.Mkdev(number[0], number[1]))), os.Chmod(n, 0o666))
		}
	}
	for i := range 40 {
		all[fmt.Sprintf("usr/share/file-%d", i)] = file(fmt.Sprint(i), 0o644)
	}
	return all
}

// capability is cap_net_raw+ep, as linux/capability.h has it.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func withAttributes(pairs ...string) func(string) error {
	return func(name string) error {
		if err := os.WriteFile(name, []byte(name[strings.LastIndex(name, "/"):]), 0o755); err != nil { //nolint:gosec // a program
			return err
		}
		for i := 0; i < len(pairs); i += 2 {
			if err := unix.Setxattr(name, pairs[i], []byte(pairs[i+1]), 0); err != nil {
				return err
			}
		}
		return nil
	}
}

func sparse(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("middle"), 3<<20)
	return join(err, f.Truncate(6<<20), f.Close())
}

func join(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func shuffledByDepth(random *rand.Rand, names []string) []string {
	random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	slices.SortStableFunc(names, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	return names
}

// Portrait tells everything about the files of a tree that an image keeps; two
// names of one file tell of each other.
func Portrait(t testing.TB, root string) map[string]string {
	t.Helper()
	prints, first := map[string]string{}, map[uint64]string{}
	check(t, filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		short, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("mode %o owner %d:%d changed %d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec)
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if first[st.Ino] == "" {
				first[st.Ino] = short
			}
			line += " is " + first[st.Ino]
		}
		more, err := content(name, &st)
		prints[short] = line + more
		return err
	}))
	return prints
}

func content(name string, st *unix.Stat_t) (string, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		data, err := os.ReadFile(name)
		return fmt.Sprintf(" size %d sha256 %.8x", len(data), sha256.Sum256(data)) + attributes(name), err
	case unix.S_IFDIR:
		return attributes(name), nil
	case unix.S_IFLNK:
		target, err := os.Readlink(name)
		return " -> " + target, err
	case unix.S_IFCHR, unix.S_IFBLK:
		return fmt.Sprintf(" device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
	}
	return "", nil
}

func attributes(name string) string {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(name, list)
	if err != nil || n == 0 {
		return ""
	}
	var lines []string
	for key := range bytes.SplitSeq(bytes.TrimSuffix(list[:n], []byte{0}), []byte{0}) {
		value := make([]byte, 64<<10)
		m, err := unix.Lgetxattr(name, string(key), value)
		if err == nil {
			lines = append(lines, fmt.Sprintf(" %s=%q", key, value[:m]))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
