package leftover

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// RemoveLock removes the empty file by which systemd-nspawn locks a tree, and
// which it leaves beside it when it is killed.
func RemoveLock(tree string) error {
	path := filepath.Join(filepath.Dir(tree), ".#"+filepath.Base(tree)+".lck")
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() > 0) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
