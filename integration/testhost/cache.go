package testhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/moby/sys/mountinfo"
)

// cacheRoot holds the built trees and, below run, those of running hosts.
func cacheRoot() string {
	if dir := os.Getenv("NSPAWN_BUILD_TEST_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/nspawn-build-test"
}

// builderVersion is part of every key: raise it when what is built changes
// in a way that the other parts of the key do not show.
const builderVersion = "3"

// Cached returns the path of the artefact of that kind made from parts. When
// it is not there yet, build makes it at a temporary path; the result appears
// under its name in one step. Builders in other processes are waited for.
func Cached(ctx context.Context, kind string, parts []string, build func(path string) error) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{builderVersion, kind}, parts...), "\x00")))
	path := filepath.Join(cacheRoot(), kind+"-"+hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(cacheRoot(), 0o755); err != nil {
		return "", fmt.Errorf("make the test cache: %w", err)
	}
	lock := flock.New(path + ".lock")
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return "", fmt.Errorf("wait for the builder of %s: %w", path, err)
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	}
	temporary := path + ".part"
	if err := removeTree(temporary); err != nil {
		return "", err
	}
	if err := build(temporary); err != nil {
		_ = removeTree(temporary)
		return "", fmt.Errorf("build %s: %w", kind, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return "", fmt.Errorf("publish %s: %w", kind, err)
	}
	return path, nil
}

// removeTree removes dir and all below it, and refuses when anything is
// mounted there: what it would empty then is not the test's.
func removeTree(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	if len(mounts) > 0 {
		return fmt.Errorf("remove %s: %s is still mounted", dir, mounts[0].Mountpoint)
	}
	err = os.RemoveAll(dir)
	if errors.Is(err, fs.ErrPermission) {
		if err = changeable(dir); err == nil {
			err = os.RemoveAll(dir)
		}
	}
	if err != nil {
		return fmt.Errorf("remove a test tree: %w", err)
	}
	return nil
}

// ownDirectory makes a directory for one running host. The lock in it is held
// while this process lives, which is how sweep tells the dead from the living.
func ownDirectory() (dir string, release func(), err error) {
	running := filepath.Join(cacheRoot(), "run")
	if err := os.MkdirAll(running, 0o700); err != nil {
		return "", nil, fmt.Errorf("make the test cache: %w", err)
	}
	sweepLock := flock.New(filepath.Join(running, ".lock"))
	if err := sweepLock.Lock(); err != nil {
		return "", nil, fmt.Errorf("lock the test cache: %w", err)
	}
	defer func() { _ = sweepLock.Close() }()
	if err := sweep(running); err != nil {
		return "", nil, err
	}
	dir, err = os.MkdirTemp(running, "th")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the host: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	if held, err := lock.TryLock(); err != nil || !held {
		return "", nil, fmt.Errorf("lock %s: held %v: %w", dir, held, err)
	}
	return dir, func() { _ = lock.Close() }, nil
}

// sweep removes what hosts of killed test processes left on disk. Their
// processes, mounts and links are gone with them.
func sweep(running string) error {
	entries, err := os.ReadDir(running)
	if err != nil {
		return fmt.Errorf("sweep the test cache: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(running, e.Name())
		lock := flock.New(filepath.Join(dir, "lock"))
		held, err := lock.TryLock()
		if err != nil || !held {
			continue
		}
		removeErr := removeTree(dir)
		_ = lock.Close()
		if removeErr != nil {
			return removeErr
		}
		if err := removeCgroups(e.Name()); err != nil {
			return err
		}
	}
	return nil
}
