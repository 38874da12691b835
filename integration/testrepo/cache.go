package testrepo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// cacheRoot is the directory that testhost keeps its trees in as well.
func cacheRoot() string {
	if dir := os.Getenv("NSPAWN_BUILD_TEST_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/nspawn-build-test"
}

// formatVersion is part of every key: raise it when what the code makes of the
// same tables and packages changes.
const formatVersion = "1"

// cached returns the directory of that kind made from parts. When it is not
// there yet, build fills a temporary one, which appears under its name in one
// step: a build that was killed leaves nothing that is taken for a result.
// Builders in other processes are waited for.
func cached(ctx context.Context, kind string, parts []string, build func(dir string) error) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{formatVersion, kind}, parts...), "\x00")))
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
	if err := os.RemoveAll(temporary); err != nil {
		return "", fmt.Errorf("remove what a killed build left: %w", err)
	}
	if err := os.Mkdir(temporary, 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", kind, err)
	}
	if err := build(temporary); err != nil {
		_ = os.RemoveAll(temporary) // the next builder removes what stays
		return "", fmt.Errorf("build %s: %w", kind, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return "", fmt.Errorf("publish %s: %w", kind, err)
	}
	return path, nil
}
