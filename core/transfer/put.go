package transfer

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// partial begins the name of what is to replace a file and is not whole yet. One
// that was left is of a copy that was killed.
const partial = ".nspawn-build-partial-"

// put makes a file or a link by what is called with the name to make it under.
// What may replace something is made under another name and takes the place of
// that when it is whole: whatever fails, one of both is there.
func (u *unpacker) put(root *os.Root, name string, create func(as string) error) error {
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !u.Force || info.IsDir():
		return fmt.Errorf("%q %w", name, ErrExists)
	}
	if !u.Force {
		return create(name) // which fails if there is something by now
	}
	as := path.Join(path.Dir(name), partial+rand.Text())
	if err = create(as); err == nil {
		err = root.Rename(as, name)
	}
	// It is also there still when both were names of the same file.
	if gone := root.Remove(as); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
