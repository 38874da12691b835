package transfer

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Extended attributes travel in the records that GNU tar and bsdtar have for
// them. What is a user's own arrives; what gives rights, access control lists
// and the capabilities of a program, does so with the owners that it is about,
// and what means something to the kernel of one host only is not packed.
const (
	attributeRecord = "SCHILY.xattr."
	userAttribute   = "user."
	capability      = "security.capability"
	accessList      = "system.posix_acl_access"
	defaultList     = "system.posix_acl_default"
)

// mostAttributes is how much of them a header holds: half of what a reader takes.
const mostAttributes = 512 << 10

var errForm = errors.New("it is not written as it should be")

func travels(name string) bool {
	return strings.HasPrefix(name, userAttribute) || givesRights(name)
}

func givesRights(name string) bool {
	return name == capability || name == accessList || name == defaultList
}

// attributes puts the attributes of an opened file or directory into its header.
func (p *packer) attributes(f *os.File, h *tar.Header) error {
	names, err := listAttributes(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("%q: its attributes: %w", h.Name, err)
	}
	size := 0
	for _, name := range names {
		if !travels(name) {
			continue
		}
		value, err := attribute(int(f.Fd()), name)
		if errors.Is(err, unix.ENODATA) {
			continue // it went while we were looking
		}
		if err != nil {
			return fmt.Errorf("%q: its attribute %q: %w", h.Name, name, err)
		}
		size += len(name) + len(value)
		if size > mostAttributes || strings.ContainsRune(name, '=') {
			p.skipped(fmt.Sprintf("%q: its attribute %q is too large, or has a = in its name", h.Name, name))
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[attributeRecord+name] = string(value)
	}
	return nil
}

func listAttributes(fd int) ([]string, error) {
	list, err := grown(func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	names := strings.Split(strings.TrimRight(string(list), "\x00"), "\x00")
	slices.Sort(names)
	return names, err
}

func attribute(fd int, name string) ([]byte, error) {
	return grown(func(buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
}

// grown reads into as large a buffer as it takes.
func grown(read func([]byte) (int, error)) ([]byte, error) {
	const most = 64 << 10 // what the kernel has at most
	for size := 1 << 10; ; size *= 8 {
		buf := make([]byte, min(size, most))
		n, err := read(buf)
		if errors.Is(err, unix.ERANGE) && size < most {
			continue
		}
		return buf[:max(n, 0)], err
	}
}

// arrive are the attributes of a header that are set, but for a default list.
func (o Options) arrive(h *tar.Header) (names []string) {
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		name, is := strings.CutPrefix(key, attributeRecord)
		if is && travels(name) && name != defaultList && (o.Keep || !givesRights(name)) {
			names = append(names, name)
		}
	}
	return names
}

func (o Options) hasAttributes(h *tar.Header) bool { return len(o.arrive(h)) > 0 }

// setAttributes gives an opened file or directory what its header has for it.
func (o Options) setAttributes(f *os.File, h *tar.Header) {
	for _, name := range o.arrive(h) {
		o.setAttribute(f, h.Name, name, h.PAXRecords[attributeRecord+name])
	}
}

// setAttribute says what cannot be kept: the file is worth more than that.
func (o Options) setAttribute(f *os.File, of, name, text string) {
	value, err := o.shifted(name, []byte(text))
	if err == nil {
		err = unix.Fsetxattr(int(f.Fd()), name, value, 0)
	}
	if err != nil && o.Skipped != nil {
		o.Skipped(fmt.Sprintf("%q: its attribute %q: %v", of, name, err))
	}
}

// shifted is the value of an attribute with the users that it is about.
func (o Options) shifted(name string, value []byte) ([]byte, error) {
	switch name {
	case capability:
		return shiftCapability(value, o.Shift)
	case accessList, defaultList:
		return shiftList(value, o.Shift)
	}
	return value, nil
}

// shiftCapability has the capabilities of a program be those of the user who is
// root where it is; see vfs_ns_cap_data in linux/capability.h.
func shiftCapability(value []byte, shift int) ([]byte, error) {
	const (
		plain, withRoot = 20, 24 // bytes
		revisions       = 0xff000000
		two, three      = 0x02000000, 0x03000000
	)
	if len(value) != plain && len(value) != withRoot {
		return nil, errForm
	}
	magic := binary.LittleEndian.Uint32(value)
	root := int64(shift)
	switch {
	case magic&revisions == two && len(value) == plain:
	case magic&revisions == three && len(value) == withRoot:
		root += int64(binary.LittleEndian.Uint32(value[plain:]))
	default:
		return nil, errForm
	}
	if root < 0 || root > math.MaxUint32 {
		return nil, errors.New("it is for a root that there is not here")
	}
	out := bytes.Clone(value[:plain])
	if root == 0 {
		binary.LittleEndian.PutUint32(out, magic&^revisions|two)
		return out, nil
	}
	binary.LittleEndian.PutUint32(out, magic&^revisions|three)
	return binary.LittleEndian.AppendUint32(out, uint32(root)), nil
}

// shiftList has an access control list name the users that they are where it is;
// see posix_acl_xattr.h.
func shiftList(value []byte, shift int) ([]byte, error) {
	const (
		head, entry = 4, 8
		tagUser     = 2
		tagGroup    = 8
	)
	if len(value) < head || (len(value)-head)%entry != 0 {
		return nil, errForm
	}
	out := bytes.Clone(value)
	for e := out[head:]; len(e) > 0; e = e[entry:] {
		if tag := binary.LittleEndian.Uint16(e); tag != tagUser && tag != tagGroup {
			continue
		}
		id := int64(binary.LittleEndian.Uint32(e[4:])) + int64(shift)
		if id < 0 || id > math.MaxUint32 {
			return nil, errors.New("it names a user that there is not here")
		}
		binary.LittleEndian.PutUint32(e[4:], uint32(id))
	}
	return out, nil
}
