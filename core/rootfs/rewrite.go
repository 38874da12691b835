package rootfs

import (
	"errors"
	"fmt"
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
	return t.replace(name, func(dir *os.File, temp string) (err error) {
		mode := os.FileMode(st.Mode).Perm()
		if err := t.fill(dir, temp, data, mode&0o600); err != nil {
			return err
		}
		f, err := openAt(dir, temp, unix.O_PATH)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		made, err := statx(f)
		if err != nil || made.Mode&unix.S_IFMT != unix.S_IFREG || made.Nlink != 1 {
			return errors.Join(errors.New("it was replaced while it was made"), err)
		}
		if err := unix.Fchownat(int(f.Fd()), "", int(st.Uid), int(st.Gid), unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("give to %d:%d: %w", st.Uid, st.Gid, err)
		}
		// A handle cannot be given to fchmod(2) itself.
		return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mode)
	})
}
