package testrepo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// script is what a package manager runs: a section of a spec file such as
// "%post -n systemd", with its body.
type script struct{ section, body string }

// entry is a file, directory or link that is laid over what Debian ships.
type entry struct {
	path, text, link string
	mode             os.FileMode
	dir              bool
}

// parseOverlay reads a txtar archive. The names of its sections are
//
//	PATH             a file of mode 0644
//	PATH MODE        a file of that mode, in octal
//	PATH/ [MODE]     a directory
//	PATH -> TARGET   a symbolic link
//	%SECTION…        a section of a spec file
func parseOverlay(text []byte) (entries []entry, scripts []script, err error) {
	for _, f := range txtar.Parse(text).Files {
		if strings.HasPrefix(f.Name, "%") {
			scripts = append(scripts, script{f.Name, string(f.Data)})
			continue
		}
		e, err := parseEntry(f.Name)
		if err != nil {
			return nil, nil, err
		}
		e.text = string(f.Data)
		entries = append(entries, e)
	}
	return entries, scripts, nil
}

func parseEntry(name string) (entry, error) {
	if from, to, ok := strings.Cut(name, " -> "); ok {
		return entry{path: from, link: to}, nil
	}
	path, mode, hasMode := strings.Cut(name, " ")
	e := entry{path: strings.TrimSuffix(path, "/"), dir: strings.HasSuffix(path, "/"), mode: 0o644}
	if e.dir {
		e.mode = 0o755
	}
	if hasMode {
		n, err := strconv.ParseUint(mode, 8, 12)
		if err != nil {
			return e, fmt.Errorf("%q has no mode: %w", name, err)
		}
		e.mode = os.FileMode(n & 0o777)
		if n&0o1000 != 0 {
			e.mode |= os.ModeSticky
		}
	}
	return e, nil
}

// put lays an entry over a tree. Links on the way to it were made by us or by
// Debian's packages, which are trusted.
func (e entry) put(root string) error {
	path := filepath.Join(root, e.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("lay over %s: %w", e.path, err)
	}
	var err error
	switch {
	case e.dir:
		err = errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, e.mode))
	case e.link != "":
		err = errors.Join(removeIfThere(path), os.Symlink(e.link, path))
	default:
		err = errors.Join(removeIfThere(path), os.WriteFile(path, []byte(e.text), 0o600), os.Chmod(path, e.mode))
	}
	if err != nil {
		return fmt.Errorf("lay over %s: %w", e.path, err)
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// overlay lays over a package's tree what the tables have for it, and keeps
// its scripts.
func (t *tables) overlay(distribution, root string, p *pack) error {
	var names []string
	for _, dir := range layers(distribution) {
		names = append(names, dir+"/"+p.Package+".txtar")
	}
	for _, f := range p.Files {
		names = append(names, "common/"+f+".txtar")
	}
	for _, name := range names {
		entries, scripts, err := parseOverlay(t.files[name])
		if err != nil {
			return fmt.Errorf("data/%s: %w", name, err)
		}
		p.scripts = append(p.scripts, scripts...)
		for _, e := range entries {
			if err := e.put(root); err != nil {
				return err
			}
		}
	}
	return nil
}
