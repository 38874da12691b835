package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile/step"
)

// IsFull tells whether an error says that there is no room on a disk, or no
// quota left of it.
func IsFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// Append writes at the end of a file and returns when it is on disk. What it
// wrote of content before it failed stays.
func Append(f *os.File, content []byte) error {
	if err := write(f, content); err != nil {
		return err
	}
	return syncFile(f)
}

func create(path string) (*os.File, error) {
	if err := step.Take(step.Create, path); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
}

func write(f *os.File, content []byte) error {
	if err := step.Take(step.Write, f.Name()); err != nil {
		_, werr := f.Write(content[:len(content)/2])
		return errors.Join(&fs.PathError{Op: "write", Path: f.Name(), Err: err}, werr)
	}
	_, err := f.Write(content)
	return err
}

func syncFile(f *os.File) error {
	if err := step.Take(step.Sync, f.Name()); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return f.Sync()
}

func rename(from, to string) error {
	if err := step.Take(step.Rename, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return os.Rename(from, to)
}

// removeFile tells whether there was anything.
func removeFile(path string) (was bool, err error) {
	if err := step.Take(step.Remove, path); err != nil {
		return false, &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Mkdir makes one directory, of exactly that mode, and returns when its name is
// on disk. One that is there is no error, and is left as it is.
func Mkdir(path string, mode fs.FileMode) error {
	if err := step.Take(step.Mkdir, path); err != nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	if err := os.Mkdir(path, mode); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return SyncDirectory(filepath.Dir(path))
}

// Symlink makes a symbolic link and returns when its name is on disk.
func Symlink(target, path string) error {
	if err := step.Take(step.Symlink, path); err != nil {
		return &os.LinkError{Op: "symlink", Old: target, New: path, Err: err}
	}
	if err := os.Symlink(target, path); err != nil {
		return err
	}
	return SyncDirectory(filepath.Dir(path))
}

// SyncDirectory makes the names in a directory survive a power cut.
func SyncDirectory(dir string) error {
	if err := step.Take(step.Names, dir); err != nil {
		return &fs.PathError{Op: "sync", Path: dir, Err: err}
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
