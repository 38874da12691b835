package rootfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// ReplaceFile is WriteFile for a file that is there: the new one has the
// owner, the group and the permission bits of the file that name leads to,
// such as group shadow of /etc/shadow. A link on the way is not written
// through but replaced.
func (t *Tree) ReplaceFile(name string, data []byte) error {
	err := t.rewrite(name, data)
	if err != nil {
		return t.fail("replace", name, err)
	}
	return nil
}

func (t *Tree) rewrite(name string, data []byte) error {
	old, err := t.open(name)
	if err != nil {
		return err
	}
	defer old.Close()
	st, err := statx(old)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return ErrNotRegular
	}
	to := access{int(st.Uid), int(st.Gid), os.FileMode(st.Mode).Perm()}
	return t.replace(name, func(dir *os.File, temp string) error {
		return fill(dir, temp, data, to)
	})
}
