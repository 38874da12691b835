package hostfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
)

// Hosts is this host's /etc/hosts, of which one line for each machine with an
// alias is ours, and nothing else. Whatever else is in it stays to the byte,
// and so do owner, mode and attributes.
type Hosts struct{ Path string }

// EntryError says that a name cannot be given to a machine.
type EntryError struct {
	Name    string
	Problem string // reads on after the name
	Hint    string
}

func (e *EntryError) Error() string { return fmt.Sprintf("%q %s", e.Name, e.Problem) }

const mark = "# made by nspawn-build for machine "

func entry(name string, address netip.Addr) []byte {
	return []byte(address.String() + " " + name + " " + mark + name)
}

// isEntry tells whether a line is the one of that machine.
func isEntry(line []byte, name string) bool {
	address, rest, _ := strings.Cut(string(line), " ")
	_, err := netip.ParseAddr(address)
	return err == nil && rest == name+" "+mark+name
}

// everyHost are names that mean the same on every host.
var everyHost = []string{
	"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix",
	"ip6-allnodes", "ip6-allrouters", "broadcasthost", "gateway", "outbound", "host",
}

// Check says why a machine cannot have its name here; nil when it can. self is
// this host's own name.
func (h Hosts) Check(name, self string) error {
	const hint = "leave --alias out: ssh " // and the name below
	bad := func(problem string) error {
		return &EntryError{name, problem, hint + name + ".nspawn works without"}
	}
	short, _, _ := strings.Cut(self, ".")
	switch {
	case strings.Contains(name, "."):
		return bad("has a dot, and may be the name of somebody on the network")
	case slices.ContainsFunc(everyHost, func(n string) bool { return strings.EqualFold(n, name) }):
		return bad("means something on every host")
	case strings.EqualFold(name, self), strings.EqualFold(name, short):
		return bad("is the name of this host")
	}
	content, err := h.read()
	if err != nil {
		return err
	}
	for line := range bytes.Lines(content) {
		line = bytes.TrimRight(line, "\r\n")
		said, _, _ := strings.Cut(string(line), "#")
		fields := strings.Fields(said)
		if len(fields) < 2 || isEntry(line, name) {
			continue
		}
		if slices.ContainsFunc(fields[1:], func(n string) bool { return strings.EqualFold(n, name) }) {
			return bad(fmt.Sprintf("is %s in %s already", fields[0], h.Path))
		}
	}
	return nil
}

// Has tells whether a machine is there with that address.
func (h Hosts) Has(name string, address netip.Addr) (bool, error) {
	content, err := h.read()
	if err != nil {
		return false, err
	}
	return bytes.Equal(content, with(content, name, address)), nil
}

// Add gives a machine its name.
func (h Hosts) Add(name string, address netip.Addr) error {
	return h.change(func(content []byte) []byte { return with(content, name, address) })
}

// Remove takes a machine's line out. Where there is none, the file is not
// touched, whatever it is.
func (h Hosts) Remove(name string) error {
	content, err := os.ReadFile(h.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if bytes.Equal(content, without(content, name)) {
		return nil
	}
	return h.change(func(content []byte) []byte { return without(content, name) })
}

func with(content []byte, name string, address netip.Addr) []byte {
	line := entry(name, address)
	for there := range bytes.Lines(content) {
		if bytes.Equal(bytes.TrimSuffix(there, []byte("\n")), line) {
			return content
		}
	}
	content = without(content, name)
	if len(content) > 0 && !bytes.HasSuffix(content, []byte("\n")) {
		return slices.Concat(content, []byte("\n"), line)
	}
	return slices.Concat(content, line, []byte("\n"))
}

// without is the content as it was before with: a last line that had no end
// has none again.
func without(content []byte, name string) []byte {
	var kept [][]byte
	found := false
	for line := range bytes.Lines(content) {
		if isEntry(bytes.TrimSuffix(line, []byte("\n")), name) {
			if n := len(kept); n > 0 && !bytes.HasSuffix(line, []byte("\n")) {
				kept[n-1] = bytes.TrimSuffix(kept[n-1], []byte("\n"))
			}
			found = true
			continue
		}
		kept = append(kept, line)
	}
	if !found {
		return content
	}
	return bytes.Join(kept, nil)
}

// read reads the file where it is one that can be replaced.
func (h Hosts) read() ([]byte, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, h.Path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st)
	bad := func(problem string) error {
		return fmt.Errorf("%s %s: a machine's name cannot be written there; leave --alias out", h.Path, problem)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, bad("is missing")
	case err != nil:
		return nil, &fs.PathError{Op: "stat", Path: h.Path, Err: err}
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return nil, bad("is a link")
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, bad("is not a file")
	case st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0, st.Attributes&unix.STATX_ATTR_APPEND != 0:
		return nil, bad("is immutable (chattr)")
	case st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0:
		return nil, bad("is mounted from elsewhere")
	case st.Nlink > 1:
		return nil, bad("has a second name (hard link)")
	}
	return os.ReadFile(h.Path)
}

// change replaces the file in one step by one that differs in the content
// alone.
func (h Hosts) change(f func([]byte) []byte) error {
	for {
		before, err := h.read()
		if err != nil {
			return err
		}
		after := f(before)
		if bytes.Equal(before, after) {
			return nil
		}
		replaced, err := h.replace(before, after)
		if err != nil || replaced {
			return err
		}
	}
}

// replace reports false when somebody changed the file meanwhile.
func (h Hosts) replace(before, after []byte) (replaced bool, err error) {
	temp := filepath.Join(filepath.Dir(h.Path), "."+filepath.Base(h.Path)+".nspawn-build-new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return false, err
	}
	_, err = f.Write(after)
	if err = errors.Join(err, alike(f, h.Path), f.Sync(), f.Close()); err != nil {
		return false, errors.Join(err, os.Remove(temp))
	}
	if now, err := h.read(); err != nil || !bytes.Equal(now, before) {
		return false, errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, h.Path); err != nil {
		return false, errors.Join(err, os.Remove(temp))
	}
	return true, atomicfile.SyncDirectory(filepath.Dir(h.Path))
}

// largestAttribute is the kernel's bound, of one attribute and of all names.
const largestAttribute = 64 << 10

// alike gives f the owner, the mode and the extended attributes of path, among
// them access lists and SELinux's label.
func alike(f *os.File, path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	fd := int(f.Fd())
	if err := unix.Fchmod(fd, st.Mode&0o7777); err != nil {
		return err
	}
	list := make([]byte, largestAttribute)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return err
	}
	value := make([]byte, largestAttribute)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		if err == nil {
			err = unix.Fsetxattr(fd, name, value[:n], 0)
		}
		if err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("%s: attribute %s: %w", path, name, err)
		}
	}
	return nil
}
