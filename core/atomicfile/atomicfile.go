// Package atomicfile replaces files in one step and leaves nothing behind that
// nobody knows of: the temporary file has a name that follows from the file's
// own, so that the next Write uses it again and Remove removes it too, also
// when the program was killed amid a Write.
//
// Two processes must not write one file at the same time: callers hold a lock.
// It is for files of the host that root alone can make; never use it in a
// machine's tree.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// temporary is the name under which a file is made. It begins with a dot and
// has no ending that anything which reads a directory would take for its own.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".nspawn-build-new")
}

// Write makes path a file with that content and exactly that mode. After a
// crash or a power cut the old file is there or the new one, whole.
func Write(path string, content []byte, mode fs.FileMode) (err error) {
	temp := temporary(path)
	// What a killed run left is not written to: it may be a link by now.
	if err := removeFile(temp); err != nil {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, removeFile(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, removeFile(temp))
	}
	return SyncDirectory(filepath.Dir(path))
}

// Remove removes path, and what a Write that was killed left beside it. That
// neither is there is no error.
func Remove(path string) error {
	return errors.Join(removeFile(path), removeFile(temporary(path)))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SyncDirectory makes the names in a directory survive a power cut.
func SyncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
