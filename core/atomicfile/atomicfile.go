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
	"path/filepath"
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
	if _, err := removeFile(temp); err != nil {
		return err
	}
	f, err := create(temp)
	if err != nil {
		return err
	}
	if err = errors.Join(write(f, content), f.Chmod(mode)); err == nil {
		err = syncFile(f)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = rename(temp, path)
	}
	if err != nil {
		_, rerr := removeFile(temp)
		return errors.Join(err, rerr)
	}
	return SyncDirectory(filepath.Dir(path))
}

// Remove removes path, and what a Write that was killed left beside it, and
// returns when that is so on disk. That neither is there is no error.
func Remove(path string) error {
	was, err := removeFile(path)
	if err != nil {
		return err
	}
	rest, err := removeFile(temporary(path))
	if err != nil || !was && !rest {
		return err
	}
	return SyncDirectory(filepath.Dir(path))
}
