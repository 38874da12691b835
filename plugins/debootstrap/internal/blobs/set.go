package blobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// File is one file of a Set.
type File struct {
	Name     string    `json:"name"`
	Digest   string    `json:"sha256"`
	Modified time.Time `json:"modified"` // apt asks the mirror for what is newer
}

// fileName is a name without a directory that hides nothing.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._%+~:=-]*$`)

// Keep stores the regular files of dir whose names end in suffix as the set
// called key, in place of what was kept under it before. Files with other than
// plain names are left out.
func (s Store) Keep(key, dir, suffix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	var files []File
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !fileName.MatchString(entry.Name()) ||
			!strings.HasSuffix(entry.Name(), suffix) || entry.Name() == "lock" {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return fmt.Errorf("package cache: %w", err)
		}
		digest, err := s.Put(filepath.Join(dir, entry.Name()), "")
		if err != nil {
			return err
		}
		files = append(files, File{Name: entry.Name(), Digest: digest, Modified: info.ModTime()})
	}
	text, err := json.Marshal(files)
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	path, err := s.setPath(key)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	return nil
}

// Restore copies the files of the set called key into dir. A file that is no
// longer there, or no longer what it was, is left out.
func (s Store) Restore(key, dir string) error {
	path, err := s.setPath(key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	var files []File
	if err := json.Unmarshal(text, &files); err != nil {
		return nil //nolint:nilerr // a cut-off set is as good as none
	}
	for _, file := range files {
		if !fileName.MatchString(file.Name) {
			continue
		}
		to := filepath.Join(dir, file.Name)
		ok, err := s.Take(file.Digest, to)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := os.Chtimes(to, file.Modified, file.Modified); err != nil {
			return fmt.Errorf("package cache: %w", err)
		}
	}
	return nil
}

func (s Store) setPath(key string) (string, error) {
	if !fileName.MatchString(key) {
		return "", fmt.Errorf("package cache: %q is no name for a set", key)
	}
	return filepath.Join(s.dir, key+".json"), nil
}
