package pluginhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// lockName is the file in a directory of plugins that vouches for them.
const lockName = "plugins.lock"

// lockVersion is the version of the format.
const lockVersion = 1

// lockFile is the content of plugins.lock.
type lockFile struct {
	Version int                  `json:"version"`
	Plugins map[string]lockEntry `json:"plugins"`
}

type lockEntry struct {
	// Path is relative to the directory of the lock file, so that a tree that
	// was installed under a DESTDIR can be moved into place.
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	// Version and Distros are what the plugin said when the lock was written.
	// Distros saves asking every plugin for the one that makes a distro.
	Version string   `json:"version,omitempty"`
	Distros []string `json:"distros,omitempty"`
}

// lockPath is the lock file of a directory.
func (h *Host) lockPath(dir string) string {
	if h.Lock != "" {
		return h.Lock
	}
	return filepath.Join(dir, lockName)
}

// readLock reads the lock file at path, which only trusted may have written.
// An error that is fs.ErrNotExist means that there is none.
func readLock(path string, trusted owners) (lockFile, error) {
	handle, err := trusted.open(path)
	if err != nil {
		return lockFile{}, err
	}
	defer handle.Close() //nolint:errcheck // only read from
	var st unix.Stat_t
	if err := unix.Fstat(int(handle.Fd()), &st); err != nil {
		return lockFile{}, err
	}
	if reason := trusted.check(&st); reason != "" {
		return lockFile{}, refuseMode(path, "it "+reason)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return lockFile{}, &RefusedError{Path: path, Reason: "it is not a regular file"}
	}
	f, err := os.Open(reference(handle))
	if err != nil {
		return lockFile{}, err
	}
	defer f.Close() //nolint:errcheck // only read from
	content, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return lockFile{}, err
	}
	return parseLock(path, content)
}

func parseLock(path string, content []byte) (lockFile, error) {
	var lock lockFile
	if err := json.Unmarshal(content, &lock); err != nil {
		return lockFile{}, &RefusedError{Path: path, Reason: "it is not a lock file", Hint: rewriteHint, Err: err}
	}
	if lock.Version != lockVersion {
		return lockFile{}, &RefusedError{
			Path:   path,
			Reason: fmt.Sprintf("its format has version %d, and this nspawn-build knows %d", lock.Version, lockVersion),
			Hint:   rewriteHint,
		}
	}
	return lock, nil
}

const rewriteHint = "install the plugins again with `make install`, which writes it"

// WriteLock vouches for the plugins in dir as they are now. With names, only
// for these, and what the lock file says of others is kept. It runs each of
// them once, as `PLUGIN describe`, to note its version and distros; that one
// does not answer, because it is built for another machine or not with the SDK,
// is no error.
//
// Call it only for files that come from a source that is trusted: whatever is
// in them is run as root from then on.
func WriteLock(ctx context.Context, dir, lockPath string, names ...string) error {
	lock := lockFile{Version: lockVersion, Plugins: map[string]lockEntry{}}
	if len(names) > 0 {
		content, err := os.ReadFile(lockPath) //nolint:gosec // the caller's own
		if err == nil {
			lock, err = parseLock(lockPath, content)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if lock.Plugins == nil {
			lock.Plugins = map[string]lockEntry{}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, ok := pluginName(entry.Name())
		if !ok || len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		made, err := vouch(ctx, filepath.Join(dir, entry.Name()), filepath.Dir(lockPath))
		if err != nil {
			return err
		}
		lock.Plugins[name] = made
	}
	for _, name := range names {
		if _, ok := lock.Plugins[name]; !ok {
			return fmt.Errorf("%s has no plugin %q", dir, name)
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(lock); err != nil {
		return err
	}
	if err := renameio.WriteFile(lockPath, out.Bytes(), 0o644, renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("%s: %w", lockPath, err)
	}
	return nil
}

// vouch makes the entry of the binary at path in a lock file in lockDir.
func vouch(ctx context.Context, path, lockDir string) (lockEntry, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return lockEntry{}, err
	}
	defer f.Close() //nolint:errcheck // only read from
	sum, err := hash(f)
	if err != nil {
		return lockEntry{}, fmt.Errorf("%s: %w", path, err)
	}
	relative, err := relativePath(lockDir, path)
	if err != nil {
		return lockEntry{}, err
	}
	entry := lockEntry{Path: relative, SHA256: sum}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "describe")
	cmd.Env = pluginEnvironment()
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	var d sdk.Description
	if err == nil && json.Unmarshal(out, &d) == nil {
		entry.Version = sdk.Clean(d.Version, 128)
		for _, distro := range d.Distros {
			entry.Distros = append(entry.Distros, distro.Name)
		}
		slices.Sort(entry.Distros)
	}
	return entry, nil
}

func relativePath(base, path string) (string, error) {
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	return filepath.Rel(base, path)
}
