package plugins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

// Check is what Verify found of one plugin.
type Check struct {
	Name   string         `json:"name"`
	Path   string         `json:"path"`
	SHA256 string         `json:"sha256,omitempty"`
	Pin    pluginhost.Pin `json:"pin,omitzero"`
	// Note is worth knowing, and nothing wrong.
	Note    string `json:"note,omitempty"`
	Problem string `json:"problem,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// Verify compares plugins with the lock: the digest, the owner and the mode of
// each file and of what leads to it, and whether the file is there at all. It
// starts none of them. Without names it is about all in every directory.
func (s *Store) Verify(names ...string) ([]Check, error) {
	found, err := s.Host.Examine()
	if err != nil {
		return nil, err
	}
	var checks []Check
	for _, l := range found {
		if !l.Dev {
			checks = append(checks, checkOf(l))
		}
	}
	missing, err := s.missing()
	if err != nil {
		return nil, err
	}
	checks = append(checks, missing...)
	if len(names) == 0 {
		return checks, nil
	}
	checks = slices.DeleteFunc(checks, func(c Check) bool { return !slices.Contains(names, c.Name) })
	for _, name := range names {
		if !slices.ContainsFunc(checks, func(c Check) bool { return c.Name == name }) {
			return nil, notInstalled(s.Dir, name)
		}
	}
	return checks, nil
}

func checkOf(l pluginhost.Listing) Check {
	c := Check{Name: l.Name, Path: l.Path, SHA256: l.SHA256, Pin: l.Pin}
	var refused *pluginhost.RefusedError
	switch {
	case l.Err == nil:
	case pluginhost.Hidden(l.Err):
		c.Note = strings.TrimPrefix(l.Err.Error(), l.Path+" ")
	case errors.As(l.Err, &refused):
		c.Problem, c.Hint = refused.Error(), refused.Hint
	default:
		c.Problem = fmt.Sprintf("%s cannot be read: %v", l.Path, l.Err)
	}
	return c
}

// missing are the plugins that a lock lists and that are not there.
func (s *Store) missing() ([]Check, error) {
	var checks []Check
	for _, dir := range s.Host.Directories {
		lock, err := pluginhost.ReadLock(dir)
		var refused *pluginhost.RefusedError
		if errors.As(err, &refused) {
			checks = append(checks, Check{Name: "plugins.lock", Path: refused.Path, Problem: refused.Error(), Hint: refused.Hint})
			continue
		}
		if err != nil {
			return nil, err
		}
		for name, e := range lock.Plugins {
			path := filepath.Join(dir, e.Path)
			_, err := os.Lstat(path)
			switch {
			case err == nil:
			case !errors.Is(err, fs.ErrNotExist):
				checks = append(checks, Check{Name: name, Path: path, Problem: err.Error()})
			case e.SHA256 == "":
				checks = append(checks, Check{
					Name: name, Path: path, Problem: "installing " + path + " was cut short",
					Hint: "install it again: nspawn-build plugin install " + e.Next.Source,
				})
			default:
				checks = append(checks, Check{
					Name: name, Path: path, SHA256: e.SHA256, Pin: e.Pin, Problem: path + " is not there, and the lock lists it",
					Hint: "install it again, or take it off the lock: nspawn-build plugin remove " + name,
				})
			}
		}
	}
	slices.SortFunc(checks, func(a, b Check) int { return strings.Compare(a.Path, b.Path) })
	return checks, nil
}
