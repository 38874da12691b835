package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// owners are the users whose files are trusted.
type owners []uint32

// ownersOf returns who may own the plugins of dir: root. The plugins of a build
// tree may also belong to whoever the program itself belongs to, for that user
// decides what it does anyway.
func ownersOf(dir string) owners {
	trusted := owners{0}
	if dir != besideExecutable() {
		return trusted
	}
	var st unix.Stat_t
	if unix.Stat("/proc/self/exe", &st) == nil && st.Uid != 0 {
		trusted = append(trusted, st.Uid)
	}
	return trusted
}

// check returns why something of this kind is not to be trusted, or "".
func (o owners) check(st *unix.Stat_t) string {
	if !slices.Contains(o, st.Uid) {
		return fmt.Sprintf("belongs to user %d and not to root", st.Uid)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK && st.Mode&0o022 != 0 {
		return fmt.Sprintf("can be written by others than its owner (mode %04o)", st.Mode&0o7777)
	}
	return ""
}

// sticky reports whether st is a directory such as /tmp: anyone may make things
// in it, but what is root's there only root can rename or replace.
func sticky(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0 && st.Uid == 0
}

// open walks to path from the root, one component after the other, and returns
// a handle (O_PATH) of its end. Nobody but the owners can have put it there:
// every directory on the way, and every symbolic link, is theirs alone to
// change. Whether the end itself is to be trusted is left to the caller.
func (o owners) open(path string) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, &RefusedError{Path: path, Reason: "it is not an absolute path"}
	}
	at, err := openPath(unix.AT_FDCWD, "/")
	if err != nil {
		return nil, err
	}
	rest := components(path)
	for links := 0; len(rest) > 0; {
		next, st, err := o.step(at, rest[0], path)
		if err != nil {
			_ = at.Close()
			return nil, err
		}
		rest = rest[1:]
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			_ = at.Close()
			at = next
			continue
		}
		target, err := readLink(next)
		_ = next.Close()
		if links++; err != nil || links > 40 {
			_ = at.Close()
			return nil, errors.Join(err, &RefusedError{Path: path, Reason: "it leads through too many symbolic links"})
		}
		if filepath.IsAbs(target) {
			_ = at.Close()
			if at, err = openPath(unix.AT_FDCWD, "/"); err != nil {
				return nil, err
			}
		}
		rest = append(components(target), rest...)
	}
	return at, nil
}

// CheckProgram returns a *RefusedError unless path is a program that nobody but
// root can change, nor what leads to it.
func CheckProgram(path string) error {
	root := owners{0}
	f, err := root.open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if reason := root.check(&st); reason != "" {
		return &RefusedError{Path: path, Reason: reason}
	}
	return nil
}

// CheckDirectory returns a *RefusedError unless a directory, and all that leads
// to it, is root's alone to change. Where it does not exist, that is asked of
// the directories that do. Of a build tree it is asked as plugins there are.
func CheckDirectory(dir string) error {
	trusted := ownersOf(dir)
	at := dir
	for {
		f, err := trusted.open(at)
		if errors.Is(err, fs.ErrNotExist) && at != "/" {
			at = filepath.Dir(at)
			continue
		}
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only a handle
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return err
		}
		switch reason := trusted.check(&st); {
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			return &RefusedError{Path: at, Reason: "it is not a directory"}
		case reason != "" && (at == dir || !sticky(&st)):
			return refuseMode(at, "it "+reason)
		}
		return nil
	}
}

// step opens name in the directory at, after a look at who may change at.
func (o owners) step(at *os.File, name, whole string) (*os.File, *unix.Stat_t, error) {
	var dir, st unix.Stat_t
	if err := unix.Fstat(int(at.Fd()), &dir); err != nil {
		return nil, nil, err
	}
	if reason := o.check(&dir); reason != "" && !sticky(&dir) {
		return nil, nil, refuseMode(whole, fmt.Sprintf("%s, which leads to it, %s", location(at), reason))
	}
	next, err := openPath(int(at.Fd()), name)
	if err != nil {
		return nil, nil, &fs.PathError{Op: "open", Path: whole, Err: err}
	}
	if err := unix.Fstat(int(next.Fd()), &st); err != nil {
		_ = next.Close()
		return nil, nil, err
	}
	if sticky(&dir) && !slices.Contains(o, st.Uid) {
		_ = next.Close()
		return nil, nil, refuseMode(whole, fmt.Sprintf("%s in %s %s", name, location(at), o.check(&st)))
	}
	return next, &st, nil
}

func refuseMode(path, reason string) error {
	return &RefusedError{
		Path: path, Reason: reason,
		Hint: "plugins run as root: keep them where only root can write, as `make install` does",
	}
}

// components splits a path and leaves out what means nothing. ".." is kept: it
// is the parent of where a link has led to.
func components(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

func openPath(dirfd int, name string) (*os.File, error) {
	fd, err := unix.Openat(dirfd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func readLink(link *os.File) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(link.Fd()), "", buf)
	return string(buf[:n]), err
}

// location is the path of an open file, for messages only.
func location(f *os.File) string {
	path, err := os.Readlink(reference(f))
	if err != nil {
		return f.Name()
	}
	return path
}

// reference is a path that leads to the very file that is open, whatever may
// have become of its name.
func reference(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
