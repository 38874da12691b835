package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nspawn-build/nspawn-build/core/atomicfile"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

// Remove removes a plugin that the lock lists, and returns what that said of
// it. Machines that it made stay as they are.
func (s *Store) Remove(ctx context.Context, name string) (pluginhost.Entry, error) {
	if err := pluginhost.CheckDirectory(s.Dir); err != nil {
		return pluginhost.Entry{}, err
	}
	if _, err := s.entry(name); err != nil {
		return pluginhost.Entry{}, err
	}
	release, err := pluginhost.Hold(ctx, s.Dir)
	if err != nil {
		return pluginhost.Entry{}, err
	}
	defer release()
	lock, _, err := s.settled()
	if err != nil {
		return pluginhost.Entry{}, err
	}
	e, ok := lock.Plugins[name]
	if !ok {
		return e, notInstalled(s.Dir, name)
	}
	if err := s.ours(name, e); err != nil {
		return e, err
	}
	// The file goes first: one that the lock does not list would be nobody's.
	if err := atomicfile.Remove(s.path(name)); err != nil {
		return e, err
	}
	delete(lock.Plugins, name)
	return e, lock.Write(s.Dir)
}

// ours refuses a file that is not the one that was installed.
func (s *Store) ours(name string, e pluginhost.Entry) error {
	path := s.path(name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	sum := ""
	if info.Mode().IsRegular() {
		if sum, err = sumOf(path); err != nil {
			return err
		}
	}
	if e.Path != pluginhost.FileOf(name) || sum != e.SHA256 {
		return &Error{
			Kind: Taken, Problem: fmt.Sprintf("%s is not the file that was installed, so it is not ours to remove", path),
			Advice: "find out who changed it and move it away; then remove takes it off the lock",
		}
	}
	return nil
}
