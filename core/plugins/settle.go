package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

// settled is the lock, with what runs that were killed left open decided by
// what is there. The caller holds the directory; what was decided is on disk
// with the next write; open says that there was such a thing.
func (s *Store) settled() (_ pluginhost.Lock, open bool, err error) {
	lock, err := pluginhost.ReadLock(s.Dir)
	if err != nil {
		return lock, open, err
	}
	for name, e := range lock.Plugins {
		if e.Next == nil {
			continue
		}
		open = true
		path := filepath.Join(s.Dir, e.Path)
		sum, err := sumOf(path)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return lock, open, err
		case err == nil && sum == e.Next.SHA256:
			lock.Plugins[name] = *e.Next
		case e.SHA256 == "":
			delete(lock.Plugins, name)
			if err != nil { // there is at most what was half written
				if err := atomicfile.Remove(path); err != nil {
					return lock, open, err
				}
			}
		default:
			e.Next = nil
			lock.Plugins[name] = e
		}
	}
	return lock, open, nil
}

// sumOf is the SHA-256 of a file.
func sumOf(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read from
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, 1<<30)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
