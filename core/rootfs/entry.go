package rootfs

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is what an entry of a tree is.
type Kind uint8

// The kinds. Sockets are none: whoever listened on one is not in the tree.
const (
	Directory Kind = iota + 1
	File
	Symlink
	Pipe
	CharDevice
	BlockDevice
)

// kindOf tells the kind of an entry by its mode, and 0 of a socket.
func kindOf(mode uint32) Kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return Directory
	case unix.S_IFREG:
		return File
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFIFO:
		return Pipe
	case unix.S_IFCHR:
		return CharDevice
	case unix.S_IFBLK:
		return BlockDevice
	}
	return 0
}

// special is the type of a pipe or device for mknod(2).
func (k Kind) special() uint32 {
	switch k {
	case Pipe:
		return unix.S_IFIFO
	case CharDevice:
		return unix.S_IFCHR
	case BlockDevice:
		return unix.S_IFBLK
	}
	return 0
}

// Attributes are what an entry has beside its name and its content.
type Attributes struct {
	Mode     uint32 // permissions, setuid, setgid and sticky, as chmod(2) has them
	UID, GID int
	ModTime  time.Time
	// Xattrs are the extended attributes that a clone has as well, of files and
	// directories. ACLs are in the kernel's form.
	Xattrs map[string]string
}

// Entry is one name in a tree, with what is found there.
type Entry struct {
	Name string // from the root, without a slash at either end; "." is the root
	Kind Kind
	Attributes
	Size         int64  // of a file
	Target       string // of a link
	Major, Minor uint32 // of a device
	// First is another name of this very file, under which it was seen before;
	// then there is no Content.
	First string
	// Content is that of a file, Size bytes, for as long as it is being visited.
	Content io.Reader
}

// sortedNames are the names of attributes in the one order in which they are
// set and told.
func (a Attributes) sortedNames() []string { return slices.Sorted(maps.Keys(a.Xattrs)) }

func (a Attributes) times() []unix.Timespec {
	at := unix.NsecToTimespec(a.ModTime.UnixNano())
	return []unix.Timespec{at, at}
}

// exactly reads the size bytes that a file had when it was looked at: no more,
// and it is an error if there are less.
type exactly struct {
	from io.Reader
	left int64
}

// Read is io.Reader's.
func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.from.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 { //nolint:errorlint // Read returns it as it is
		return n, fmt.Errorf("%w: it became shorter", ErrChanged)
	}
	return n, err
}

// checkPlain refuses a name that does not lead from a root to an entry below
// it, one component after the other.
func checkPlain(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("is no plain name: %w", fs.ErrInvalid)
		}
	}
	return checkName(name)
}
