package pluginhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// WriteLock vouches for the plugins in dir as they are now. With names, only
// for these, and what the lock file says of others is kept; without, all the
// same for those that `plugin install` brought. It runs each of them once, as
// `PLUGIN describe`, to note its version and distros; that one does not answer,
// because it is built for another machine or not with the SDK, is no error.
//
// Call it only for files that come from a source that is trusted: whatever is
// in them is run as root from then on.
func WriteLock(ctx context.Context, dir, lockPath string, names ...string) error {
	release, err := Hold(ctx, dir)
	if err != nil {
		return err
	}
	defer release()
	lock, err := kept(lockPath, len(names) > 0)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, ok := NameOf(entry.Name())
		if !ok || len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		old, known := lock.Plugins[name]
		if known {
			// It is what it was: the rest of what is known of it holds as well.
			if sum, err := hashOf(path); err != nil {
				return err
			} else if _, same := old.of(sum); same {
				continue
			}
			if len(names) == 0 {
				continue // it came by plugin install, which alone vouches for it
			}
		}
		made, err := vouch(ctx, path, filepath.Dir(lockPath))
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
	if err := lock.write(lockPath); err != nil {
		return fmt.Errorf("%s: %w", lockPath, err)
	}
	return nil
}

// kept is what stays of a lock file: all of it, or what `plugin install` wrote.
func kept(path string, all bool) (Lock, error) {
	lock := Lock{Version: lockVersion, Plugins: map[string]Entry{}}
	content, err := os.ReadFile(path) //nolint:gosec // the caller's own
	if errors.Is(err, fs.ErrNotExist) {
		return lock, nil
	}
	if err != nil {
		return lock, err
	}
	old, err := parseLock(path, content)
	if err != nil && all {
		return lock, err
	}
	for name, entry := range old.Plugins {
		if all || entry.Source != "" || entry.Next != nil {
			lock.Plugins[name] = entry
		}
	}
	return lock, nil
}

func hashOf(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read from
	sum, err := hash(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return sum, nil
}

// vouch makes the entry of the binary at path in a lock file in lockDir.
func vouch(ctx context.Context, path, lockDir string) (Entry, error) {
	sum, err := hashOf(path)
	if err != nil {
		return Entry{}, err
	}
	relative, err := relativePath(lockDir, path)
	if err != nil {
		return Entry{}, err
	}
	entry := Entry{Path: relative, SHA256: sum}
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
