package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// keyringCache keeps prepared keyrings between jobs, each as one file under the
// digest of what it was made from: a line with the form and the SHA-256 of the
// rest, then a tar archive. It holds no secret key: to verify, none is needed.
//
// Any number of jobs may use it at the same time: a file is written under a name
// of its own, synced and renamed into place. What is not whole, or was not
// written by root for root alone, is not used.
type keyringCache struct{ directory string }

// keyringFiles are what pacman verifies with.
var keyringFiles = []string{"gpg.conf", "pubring.gpg", "trustdb.gpg"}

// maxKeyringFile is many times the size of any real keyring's file, in bytes.
const maxKeyringFile = 64 << 20

const keyringForm = "nspawn-build keyring 1 "

var errNotKept = errors.New("there is no such keyring in the cache")

// restore makes the keyring of a digest in the new directory to.
func (c keyringCache) restore(digest, to string) error {
	f, err := os.OpenFile(filepath.Join(c.directory, digest), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return errNotKept
	}
	defer f.Close() //nolint:errcheck // only read from
	if err := onlyRoots(f); err != nil {
		return err
	}
	content, err := io.ReadAll(io.LimitReader(f, 2*maxKeyringFile))
	if err != nil {
		return err
	}
	first, archive, _ := bytes.Cut(content, []byte("\n"))
	sum := sha256.Sum256(archive)
	if string(first) != keyringForm+hex.EncodeToString(sum[:]) {
		return errors.New("the keyring in the cache is damaged")
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	for in := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !slices.Contains(keyringFiles, header.Name) {
			return fmt.Errorf("the keyring in the cache has a file %q", header.Name)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, header.Name), content, 0o644); err != nil { //nolint:gosec // G305: one of keyringFiles
			return err
		}
	}
}

// onlyRoots makes sure that nobody but us can have written a file.
func onlyRoots(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() {
		return errors.New("the keyring in the cache can be read or written by others")
	}
	return nil
}

// keep puts the keyring in a directory into the cache.
func (c keyringCache) keep(digest, from string) error {
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	for _, name := range keyringFiles {
		content, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		}
		if err == nil {
			_, err = out.Write(content)
		}
		if err != nil {
			return fmt.Errorf("keyring cache: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("keyring cache: %w", err)
	}
	sum := sha256.Sum256(archive.Bytes())
	whole := slices.Concat([]byte(keyringForm+hex.EncodeToString(sum[:])+"\n"), archive.Bytes())
	if err := c.write(digest, whole); err != nil {
		return fmt.Errorf("keyring cache: %w", err)
	}
	return nil
}

func (c keyringCache) write(name string, content []byte) error {
	if err := os.MkdirAll(c.directory, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.directory, ".new-") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone after the rename
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(c.directory, name)); err != nil {
		return err
	}
	return c.prune(name)
}

// maxKeyrings is how many keyrings are kept: more are of keys that have been
// replaced since.
const maxKeyrings = 16

// prune removes what is there beyond that, and what killed jobs have left.
func (c keyringCache) prune(keep string) error {
	entries, err := os.ReadDir(c.directory)
	if err != nil {
		return err
	}
	count := 0
	for _, entry := range entries {
		if entry.Name() == keep {
			continue
		}
		if strings.HasPrefix(entry.Name(), ".new-") {
			if info, err := entry.Info(); err != nil || time.Since(info.ModTime()) < time.Hour {
				continue // gone already, or being written
			}
		} else if count++; count < maxKeyrings {
			continue
		}
		if err := os.Remove(filepath.Join(c.directory, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
