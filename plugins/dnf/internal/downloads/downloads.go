// Package downloads keeps what dnf has downloaded between jobs: sets of files,
// each file under the SHA-256 of what is in it.
//
// Any number of jobs may use a store at the same time: each has copies of its
// own, dnf never works in the store, and what is put in is renamed into place
// whole. dnf's own locks would be of no use: they hold process numbers, and jobs
// do not see each other's. What is taken out is checked against its digest while
// it is copied; what is truncated or altered is thrown away. Files are copied,
// never linked: nothing that runs in a machine can reach the store.
package downloads

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Store is a directory of files and sets.
type Store struct{ dir string }

// maxAge is how long a file or set is kept that no job uses.
const maxAge = 90 * 24 * time.Hour

// Open returns the store in dir, which is made if it is missing. What has not
// been used for long is removed.
func Open(dir string, now time.Time) (Store, error) {
	s := Store{dir: dir}
	for _, name := range []string{"files", "sets"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return Store{}, fmt.Errorf("package cache: %w", err)
		}
		if err := s.expire(name, now.Add(-maxAge)); err != nil {
			return Store{}, err
		}
	}
	return s, s.expire(".", now.Add(-24*time.Hour)) // those of jobs that were killed
}

// expire removes the files of a directory that were last used before a time.
func (s Store) expire(name string, before time.Time) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, name))
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || info.ModTime().After(before) {
			continue // gone, or to be kept
		}
		if err := os.Remove(filepath.Join(s.dir, name, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("package cache: %w", err)
		}
	}
	return nil
}

// member is a file of a set.
type member struct{ digest, path string }

// line is the form in which a set is written, a line for each file.
var line = regexp.MustCompile(`^([0-9a-f]{64}) ([A-Za-z0-9][A-Za-z0-9._+~^%:@=-]*(?:/[A-Za-z0-9][A-Za-z0-9._+~^%:@=-]*)*)$`)

var keyForm = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

func (s Store) setPath(key string) (string, error) {
	if !keyForm.MatchString(key) {
		return "", fmt.Errorf("package cache: %q is not a key", key)
	}
	return filepath.Join(s.dir, "sets", key), nil
}

// read returns the files of a set, none when there is no such set.
func (s Store) read(key string) ([]member, error) {
	path, err := s.setPath(key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("package cache: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	var members []member
	in := bufio.NewScanner(io.LimitReader(f, 16<<20))
	for in.Scan() {
		// What is not of the form is as good as not there.
		if m := line.FindStringSubmatch(in.Text()); m != nil {
			members = append(members, member{digest: m[1], path: m[2]})
		}
	}
	return members, in.Err()
}

func (s Store) write(key string, members []member) error {
	path, err := s.setPath(key)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, m := range members {
		fmt.Fprintln(&b, m.digest, m.path)
	}
	out, err := os.CreateTemp(s.dir, "new-")
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	defer os.Remove(out.Name()) //nolint:errcheck // gone after the rename
	_, err = out.WriteString(b.String())
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	if err := os.Rename(out.Name(), path); err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	return nil
}

// Restore copies the files of a set into a directory, as far as they are sound.
func (s Store) Restore(key, directory string) error {
	members, err := s.read(key)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := s.take(m, directory); err != nil {
			return err
		}
	}
	return nil
}

func (s Store) take(m member, directory string) error {
	kept := filepath.Join(s.dir, "files", m.digest)
	in, err := os.OpenFile(kept, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	defer in.Close() //nolint:errcheck // only read from
	path := filepath.Join(directory, filepath.FromSlash(m.path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	got, err := copyDigest(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return errors.Join(fmt.Errorf("package cache: %w", err), os.Remove(path))
	}
	if got == m.digest {
		now := time.Now()
		_ = os.Chtimes(kept, now, now) // expire goes by it; at worst the file is downloaded again
		return nil
	}
	if err := os.Remove(kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("package cache: %w", err), os.Remove(path))
	}
	return os.Remove(path)
}

// Keep makes those files of a directory that are wanted the set of that key.
func (s Store) Keep(key, directory string, wanted func(path string) bool) error {
	var members []member
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(directory, path)
		if err != nil {
			return err
		}
		m := member{digest: strings.Repeat("0", 64), path: filepath.ToSlash(name)}
		if !wanted(m.path) || !line.MatchString(m.digest+" "+m.path) {
			return nil
		}
		if m.digest, err = s.put(path); err != nil {
			return err
		}
		members = append(members, m)
		return nil
	})
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	return s.write(key, members)
}

// Trim takes the files out of a set that are not wanted any more.
func (s Store) Trim(key string, wanted func(path string) bool) error {
	members, err := s.read(key)
	if err != nil {
		return err
	}
	var left []member
	for _, m := range members {
		if wanted(m.path) {
			left = append(left, m)
		}
	}
	return s.write(key, left)
}

// put copies a file into the store.
func (s Store) put(path string) (string, error) {
	in, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer in.Close() //nolint:errcheck // only read from
	digest, err := copyDigest(io.Discard, in)
	if err != nil {
		return "", err
	}
	kept := filepath.Join(s.dir, "files", digest)
	if _, err := os.Lstat(kept); err == nil {
		return digest, nil
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	out, err := os.CreateTemp(s.dir, "new-")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name()) //nolint:errcheck // gone after the rename
	again, err := copyDigest(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return "", err
	}
	if again != digest {
		return "", fmt.Errorf("%s changes while it is read", path)
	}
	return digest, os.Rename(out.Name(), kept)
}

func copyDigest(out io.Writer, in io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.CopyBuffer(io.MultiWriter(out, sum), in, make([]byte, 256<<10)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
