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
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
)

// lockName is the file in a directory of plugins that vouches for them.
const lockName = "plugins.lock"

// lockVersion is the version of the format.
const lockVersion = 1

// Lock is the content of plugins.lock.
type Lock struct {
	Version int              `json:"version"`
	Plugins map[string]Entry `json:"plugins"`
}

// Entry vouches for one plugin.
type Entry struct {
	// Path is relative to the directory of the lock file, so that a tree that
	// was installed under a DESTDIR can be moved into place.
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	// Version and Distros are what the plugin said when the lock was written.
	// Distros saves asking every plugin for the one that makes a distro.
	Version string   `json:"version,omitempty"`
	Distros []string `json:"distros,omitempty"`

	Pin
	// Takes are the distros that this plugin makes though another one claims
	// them too.
	Takes []string `json:"takes,omitempty"`
	// Next is what is being put in the place of this one. Until that is done
	// the file is one of the two, and both are vouched for: whatever a crash
	// leaves is whole. While a plugin is new, SHA256 is empty.
	Next *Entry `json:"next,omitempty"`
}

// Pin is where a plugin was installed from; empty for what `make install` put
// there.
type Pin struct {
	Source string `json:"source,omitempty"` // oci://…, or an absolute path
	// Digest is that of the artifact in the registry, which may hold programs
	// for several architectures: "sha256:…".
	Digest    string    `json:"digest,omitempty"`
	Installed time.Time `json:"installed,omitzero"`
	// Key is who must have signed it and whatever is to replace it, as in
	// authorized_keys of ssh. Empty means anybody.
	Key string `json:"key,omitempty"`
}

// of returns what vouches for a file of that hash.
func (e Entry) of(sum string) (Entry, bool) {
	if e.Next != nil && e.Next.SHA256 == sum {
		return *e.Next, true
	}
	return e, e.SHA256 != "" && e.SHA256 == sum
}

// lockPath is the lock file of a directory.
func (h *Host) lockPath(dir string) string {
	if h.Lock != "" {
		return h.Lock
	}
	return filepath.Join(dir, lockName)
}

// ReadLock reads the lock file of a directory of plugins, which must be its
// owner's alone. Where there is none it vouches for nothing.
func ReadLock(dir string) (Lock, error) {
	lock, err := readLock(filepath.Join(dir, lockName), ownersOf(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{Version: lockVersion, Plugins: map[string]Entry{}}, nil
	}
	return lock, err
}

// Write makes it the lock file of a directory. The caller holds that: see Hold.
func (l Lock) Write(dir string) error { return l.write(filepath.Join(dir, lockName)) }

func (l Lock) write(path string) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(l); err != nil {
		return err
	}
	return atomicfile.Write(path, out.Bytes(), 0o644)
}

// Hold keeps every other process from changing what is in a directory of
// plugins, until release is called. It waits for the one that does.
func Hold(ctx context.Context, dir string) (release func(), err error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", dir, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// readLock reads the lock file at path, which only trusted may have written.
// An error that is fs.ErrNotExist means that there is none.
func readLock(path string, trusted owners) (Lock, error) {
	handle, err := trusted.open(path)
	if err != nil {
		return Lock{}, err
	}
	defer handle.Close() //nolint:errcheck // only read from
	var st unix.Stat_t
	if err := unix.Fstat(int(handle.Fd()), &st); err != nil {
		return Lock{}, err
	}
	if reason := trusted.check(&st); reason != "" {
		return Lock{}, refuseMode(path, "it "+reason)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return Lock{}, &RefusedError{Path: path, Reason: "it is not a regular file"}
	}
	f, err := os.Open(reference(handle))
	if err != nil {
		return Lock{}, err
	}
	return parseOpen(f, path)
}

// readUntrusted reads a lock file that anybody may have written.
func readUntrusted(path string) (Lock, error) {
	f, err := os.OpenFile(path, unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return Lock{}, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return Lock{}, errors.Join(&RefusedError{Path: path, Reason: "it is not a regular file"}, err, f.Close())
	}
	return parseOpen(f, path)
}

// parseOpen reads an open lock file, and closes it.
func parseOpen(f *os.File, path string) (Lock, error) {
	defer f.Close() //nolint:errcheck // only read from
	content, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return Lock{}, err
	}
	return parseLock(path, content)
}

func parseLock(path string, content []byte) (Lock, error) {
	var lock Lock
	if err := json.Unmarshal(content, &lock); err != nil {
		return Lock{}, &RefusedError{Path: path, Reason: "it is not a lock file", Hint: rewriteHint, Err: err}
	}
	if lock.Version != lockVersion {
		return Lock{}, &RefusedError{
			Path:   path,
			Reason: fmt.Sprintf("its format has version %d, and this nspawn-build knows %d", lock.Version, lockVersion),
			Hint:   rewriteHint,
		}
	}
	if lock.Plugins == nil {
		lock.Plugins = map[string]Entry{}
	}
	return lock, nil
}

const rewriteHint = "move it away and install the plugins again, with `make install` or nspawn-build plugin install"
