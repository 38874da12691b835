package rootfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// owner is whom the copy belongs to.
func (c *copier) owner(st *unix.Statx_t) (uid, gid int) {
	return int(c.unshift(st.Uid)), int(c.unshift(st.Gid))
}

// unshift takes an id out of the range that systemd-nspawn gave a machine.
func (c *copier) unshift(id uint32) uint32 {
	if c.shifted {
		return id % userRange
	}
	return id
}

// times are those of last access and change.
func times(st *unix.Statx_t) []unix.Timespec {
	return []unix.Timespec{
		unix.NsecToTimespec(st.Atime.Sec*1e9 + int64(st.Atime.Nsec)),
		unix.NsecToTimespec(st.Mtime.Sec*1e9 + int64(st.Mtime.Nsec)),
	}
}

// dress gives a file or directory of the clone its owner, its mode and its
// extended attributes, in this order: to give it away takes the special bits
// and the capabilities from it, and its mode is part of its ACL.
func (c *copier) dress(to, from int, st *unix.Statx_t) error {
	uid, gid := c.owner(st)
	if err := unix.Fchown(to, uid, gid); err != nil {
		return err
	}
	if err := unix.Fchmod(to, uint32(st.Mode&0o7777)); err != nil {
		return err
	}
	names, err := listAttributes(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !carried(name) {
			continue
		}
		if err := c.attribute(to, from, name); err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

// The extended attributes that stand for something else.
const (
	attrCapability = "security.capability"
	attrLabel      = "security.selinux"
	attrACL        = "system.posix_acl_" // access and default
)

// carried tells which attributes a clone has as well. The others say how a file
// system keeps a file.
func carried(name string) bool {
	for _, prefix := range []string{"user.", "trusted.", "security.", attrACL} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (c *copier) attribute(to, from int, name string) error {
	value, err := readAttribute(from, name)
	if errors.Is(err, unix.ENODATA) {
		return nil // removed since
	}
	if err != nil {
		return err
	}
	if c.shifted {
		value = unshiftAttribute(name, value)
	}
	return setAttribute(to, name, value)
}

func setAttribute(to int, name string, value []byte) error {
	err := unix.Fsetxattr(to, name, value, 0)
	if name == attrLabel && errors.Is(err, unix.EOPNOTSUPP) {
		return nil // this place is labelled by the host's policy, if at all
	}
	return err
}

// unshiftAttribute takes the ids in an attribute out of the range that
// systemd-nspawn gave a machine.
func unshiftAttribute(name string, value []byte) []byte {
	switch {
	case name == attrCapability:
		return unshiftCapability(value)
	case strings.HasPrefix(name, attrACL):
		return unshiftACL(value)
	}
	return value
}

func listAttributes(fd int) ([]string, error) {
	buf := make([]byte, 1024)
	for {
		n, err := unix.Flistxattr(fd, buf)
		switch {
		case errors.Is(err, unix.EOPNOTSUPP):
			return nil, nil
		case errors.Is(err, unix.ERANGE):
			buf = make([]byte, 8*len(buf))
			continue
		case err != nil || n == 0:
			return nil, err
		}
		return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
	}
}

func readAttribute(fd int, name string) ([]byte, error) {
	buf := make([]byte, 1024)
	for {
		n, err := unix.Fgetxattr(fd, name, buf)
		if errors.Is(err, unix.ERANGE) {
			buf = make([]byte, 8*len(buf))
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
}

// unshiftCapability rewrites capabilities that hold in a namespace of users of
// another root; the form is that of linux/capability.h.
func unshiftCapability(value []byte) []byte {
	const (
		revision3 = 3 << 24
		revision2 = 2 << 24
		size2     = 20 // the third revision has the root's id behind it
	)
	if len(value) != size2+4 || binary.LittleEndian.Uint32(value)&0xff000000 != revision3 {
		return value
	}
	out := bytes.Clone(value)
	root := binary.LittleEndian.Uint32(out[size2:]) % userRange
	binary.LittleEndian.PutUint32(out[size2:], root)
	if root != 0 {
		return out
	}
	binary.LittleEndian.PutUint32(out, binary.LittleEndian.Uint32(out)&0xffffff|revision2)
	return out[:size2]
}

// unshiftACL rewrites the users and groups that an ACL names; the form is that
// of linux/posix_acl_xattr.h: a version, then tag, permissions and id of each.
func unshiftACL(value []byte) []byte {
	const (
		head, entry = 4, 8
		tagUser     = 0x02
		tagGroup    = 0x08
	)
	out := bytes.Clone(value)
	for at := head; at+entry <= len(out); at += entry {
		if tag := binary.LittleEndian.Uint16(out[at:]); tag == tagUser || tag == tagGroup {
			binary.LittleEndian.PutUint32(out[at+4:], binary.LittleEndian.Uint32(out[at+4:])%userRange)
		}
	}
	return out
}
