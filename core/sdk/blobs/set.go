package blobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/google/renameio/v2"
)

// File is one file of a set.
type File struct {
	Name     string    `json:"name"` // relative to the set's directory
	Digest   string    `json:"sha256"`
	Modified time.Time `json:"modified"` // apt asks the mirror for what is newer
}

// keyForm is a plain name; fileName is a path of such names, which hides nothing
// and leads nowhere else.
var (
	keyForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._%+~:=-]*$`)
	fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._%+~^@:=-]*(?:/[A-Za-z0-9][A-Za-z0-9._%+~^@:=-]*)*$`)
)

// Keep stores those regular files in and below dir that are wanted as the set
// called key, in place of what was kept under it before. Names are relative to
// dir; files with other than plain ones are left out.
func (s Store) Keep(key, dir string, wanted func(name string) bool) error {
	var files []File
	// Not filepath.WalkDir, which does not enter a dir that is a link; one in
	// /proc/self/fd is.
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || !fileName.MatchString(name) || !wanted(name) {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		digest, err := s.Put(filepath.Join(dir, name), "")
		if err != nil {
			return err
		}
		files = append(files, File{Name: name, Digest: digest, Modified: info.ModTime()})
		return nil
	})
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	return s.write(key, files)
}

// Trim takes the files out of a set that are not wanted any more.
func (s Store) Trim(key string, wanted func(name string) bool) error {
	files, err := s.read(key)
	if err != nil {
		return err
	}
	return s.write(key, slices.DeleteFunc(files, func(f File) bool { return !wanted(f.Name) }))
}

func (s Store) write(key string, files []File) error {
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

// read returns the files of a set, none when there is no such set.
func (s Store) read(key string) ([]File, error) {
	path, err := s.setPath(key)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("package cache: %w", err)
	}
	var files []File
	if json.Unmarshal(text, &files) != nil {
		return nil, nil //nolint:nilerr // a cut-off set is as good as none
	}
	return files, nil
}

// Restore copies the files of the set called key into dir. A file that is no
// longer there, or no longer what it was, is left out.
func (s Store) Restore(key, dir string) error {
	files, err := s.read(key)
	if err != nil {
		return err
	}
	for _, file := range files {
		if !fileName.MatchString(file.Name) {
			continue
		}
		to := filepath.Join(dir, file.Name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("package cache: %w", err)
		}
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
	if !keyForm.MatchString(key) {
		return "", fmt.Errorf("package cache: %q is no name for a set", key)
	}
	return filepath.Join(s.dir, key+".json"), nil
}
