package rootfs

import (
	"errors"
	"io/fs"
	"path"
	"syscall"
)

// Size is what the tree's files take of the disk, in bytes; a file with several
// names counts once. What goes while it is looked at does not count.
func (t *Tree) Size() (int64, error) {
	return t.size("/", map[uint64]bool{})
}

func (t *Tree) size(dir string, seen map[uint64]bool) (sum int64, err error) {
	entries, err := t.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info() // known since ReadDir
		if err != nil {
			return 0, err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[st.Ino] {
			seen[st.Ino] = true
			sum += st.Blocks * 512
		}
		if !info.IsDir() {
			continue
		}
		below, err := t.size(path.Join(dir, e.Name()), seen)
		if err != nil {
			return 0, err
		}
		sum += below
	}
	return sum, nil
}
