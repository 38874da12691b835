package image

import (
	"encoding/binary"
	"strings"
)

// ext4Attribute is an extended attribute in the form that ext4 keeps: it has one
// of its own for ACLs (fs/ext4/acl.h), where only entries of named users and
// groups have room for an id.
func ext4Attribute(name, value string) (string, bool) {
	if !strings.HasPrefix(name, "system.posix_acl_") {
		return value, true
	}
	const (
		head, entry = 4, 8 // of the kernel's form, linux/posix_acl_xattr.h
		user, group = 0x02, 0x08
		version     = 1
	)
	in := []byte(value)
	if len(in) < head || (len(in)-head)%entry != 0 {
		return "", false
	}
	out := binary.LittleEndian.AppendUint32(nil, version)
	for at := head; at < len(in); at += entry {
		out = append(out, in[at:at+4]...) // tag and permissions
		if tag := binary.LittleEndian.Uint16(in[at:]); tag == user || tag == group {
			out = append(out, in[at+4:at+entry]...)
		}
	}
	return string(out), true
}
