// Package blobs keeps downloaded files between jobs, each under the SHA-256 of
// what is in it.
//
// Any number of jobs may use a store at the same time: a blob is written under
// a name of its own and renamed into place, and never changed after that. What
// is taken out is checked against its digest while it is copied, so that a
// truncated or altered blob is never handed out; it is thrown away. Blobs are
// copied, never linked: nothing that runs in a machine can reach the store.
package blobs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// Store is a directory of blobs.
type Store struct{ dir string }

// How long is kept what no job uses: a blob or set, and what a job that was
// killed had not finished.
const (
	maxAge       = 90 * 24 * time.Hour
	maxUnsettled = 24 * time.Hour
)

// Open returns the store in dir, which is made if it is missing. What has not
// been used for 90 days is removed.
func Open(dir string) (Store, error) {
	blobs := filepath.Join(dir, "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return Store{}, fmt.Errorf("package cache: %w", err)
	}
	now := time.Now()
	return Store{dir: dir}, errors.Join(
		expire(filepath.Join(blobs, "*"), now.Add(-maxAge)),
		expire(filepath.Join(dir, "*.json"), now.Add(-maxAge)),
		expire(filepath.Join(dir, ".new-*"), now.Add(-maxUnsettled)),
	)
}

// expire removes the files of a pattern that were last used before a time.
func expire(pattern string, before time.Time) error {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || info.ModTime().After(before) {
			continue // gone, or to be kept
		}
		if err := removed(path); err != nil {
			return fmt.Errorf("package cache: %w", err)
		}
	}
	return nil
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ErrDigest is returned by Put when a file is not what it was said to be.
var ErrDigest = errors.New("the digest does not match")

func (s Store) path(digest string) (string, error) {
	if !digestForm.MatchString(digest) {
		return "", fmt.Errorf("package cache: %q is not a SHA-256 digest", digest)
	}
	return filepath.Join(s.dir, "sha256", digest), nil
}

// Has reports whether a blob of that digest is there, unchecked.
func (s Store) Has(digest string) bool {
	path, err := s.path(digest)
	if err != nil {
		return false
	}
	_, err = os.Lstat(path)
	return err == nil
}

// Put copies the file at path into the store. digest is what the file must be;
// empty means whatever it is. The digest that it is kept under is returned.
func (s Store) Put(path, digest string) (string, error) {
	if digest != "" && s.Has(digest) {
		return digest, nil
	}
	in, err := openRegular(path)
	if err != nil {
		return "", err
	}
	defer in.Close() //nolint:errcheck // only read from
	if digest == "" {
		if digest, err = copyDigest(io.Discard, in); err != nil {
			return "", fmt.Errorf("package cache: %w", err)
		}
		if s.Has(digest) {
			return digest, nil
		}
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			return "", fmt.Errorf("package cache: %w", err)
		}
	}
	out, err := os.CreateTemp(s.dir, ".new-")
	if err != nil {
		return "", fmt.Errorf("package cache: %w", err)
	}
	defer os.Remove(out.Name()) //nolint:errcheck // gone after the rename
	got, err := copyDigest(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return "", fmt.Errorf("package cache: %w", err)
	}
	if got != digest {
		return "", fmt.Errorf("package cache: %s: %w", path, ErrDigest)
	}
	kept, err := s.path(got)
	if err != nil {
		return "", err
	}
	if err := os.Rename(out.Name(), kept); err != nil {
		return "", fmt.Errorf("package cache: %w", err)
	}
	return got, nil
}

// Take copies the blob of that digest to path, which must not exist, and
// reports whether it was there and sound.
func (s Store) Take(digest, path string) (bool, error) {
	kept, err := s.path(digest)
	if err != nil {
		return false, err
	}
	in, err := openRegular(kept)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer in.Close() //nolint:errcheck // only read from
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return false, fmt.Errorf("package cache: %w", err)
	}
	got, err := copyDigest(out, in)
	err = errors.Join(err, out.Close())
	if err == nil && got == digest {
		// The time of its last use is what pruning goes by.
		now := time.Now()
		_ = os.Chtimes(kept, now, now)
		return true, nil
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("package cache: %w", err), os.Remove(path))
	}
	return false, errors.Join(os.Remove(path), removed(kept))
}

// removed removes what another job may have removed already.
func removed(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func copyDigest(out io.Writer, in io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.CopyBuffer(io.MultiWriter(out, sum), in, make([]byte, 256<<10)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// openRegular opens a regular file and nothing else, through no link.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("package cache: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("package cache: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}
