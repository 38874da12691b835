package customize

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

const scriptLimit = 16 << 20

// readScript reads a program of the host.
func readScript(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a file")
	case info.Size() > scriptLimit:
		return nil, fmt.Errorf("has more than %d bytes", scriptLimit)
	case info.Size() == 0:
		return nil, errors.New("is empty")
	}
	return io.ReadAll(io.LimitReader(f, scriptLimit))
}

// Sources reads everything of the host that c names, and says what it is by
// digest. Its error is a spec.Invalid.
func Sources(c spec.Customize) ([]spec.Taken, error) {
	var all []spec.Taken
	var bad spec.Invalid
	for _, one := range c.Copies {
		digest, err := digestOf(one.Source)
		if err != nil {
			bad = append(bad, &spec.FieldError{Field: "customize.copy", Value: one.String(), Problem: "cannot be copied: " + reason(err), Hint: "name files and directories of this host that can be read"})
		}
		all = append(all, spec.Taken{Field: "customize.copies", Path: one.Source, SHA256: digest})
	}
	for _, name := range c.Scripts {
		data, err := readScript(name)
		if err != nil {
			bad = append(bad, &spec.FieldError{Field: "customize.script", Value: name, Problem: "cannot be run: " + reason(err), Hint: "name a program or a shell script of this host"})
		}
		sum := sha256.Sum256(data)
		all = append(all, spec.Taken{Field: "customize.scripts", Path: name, SHA256: hex.EncodeToString(sum[:])})
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return all, nil
}

// reason is the innermost words of an error: the path is in the finding.
func reason(err error) string {
	var in *fs.PathError
	if errors.As(err, &in) && errors.Is(err, fs.ErrNotExist) {
		return "there is no " + in.Path
	}
	return err.Error()
}

// digestOf is over names, kinds, modes and contents: what a copy has of its
// source, and nothing else.
func digestOf(source string) (string, error) {
	sum := sha256.New()
	err := walk(source, func(e entry) error {
		fmt.Fprintf(sum, "%q %s %o %q\n", e.name, e.kind, e.mode, e.target)
		if e.content == nil {
			return nil
		}
		content := sha256.New()
		if _, err := io.Copy(content, e.content); err != nil {
			return err
		}
		fmt.Fprintf(sum, "%x\n", content.Sum(nil))
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// entry is one thing that is copied.
type entry struct {
	name    string // below the source; "." is the source itself
	kind    string // "directory", "file" or "link"
	mode    fs.FileMode
	target  string // of a link
	content io.Reader
}

// walk shows a file or tree, sorted. A source that is a link is followed, links
// in a tree are shown as links. What is neither file, directory nor link is
// refused.
func walk(source string, show func(entry) error) error {
	real, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	info, err := os.Lstat(real)
	if err != nil {
		return err
	}
	at := real
	if !info.IsDir() {
		at = filepath.Dir(real)
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // it was read from
	if info.IsDir() {
		return walkDir(root, ".", show)
	}
	return walkEntry(root, filepath.Base(real), ".", show)
}

func walkDir(root *os.Root, name string, show func(entry) error) error {
	d, err := root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	info, err := d.Stat()
	var all []fs.DirEntry
	if err == nil {
		all, err = d.ReadDir(-1)
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	if err := show(entry{name: name, kind: "directory", mode: info.Mode().Perm()}); err != nil {
		return err
	}
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.Name()
	}
	slices.Sort(names)
	for _, base := range names {
		child := path.Join(name, base)
		if err := walkEntry(root, child, child, show); err != nil {
			return err
		}
	}
	return nil
}

func walkEntry(root *os.Root, name, as string, show func(entry) error) error {
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return walkDir(root, name, show)
	case mode&fs.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			return err
		}
		return show(entry{name: as, kind: "link", target: target})
	case !mode.IsRegular():
		return fmt.Errorf("%s is neither file, directory nor link", name)
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s changed while it was read", name)
	}
	return show(entry{name: as, kind: "file", mode: info.Mode().Perm(), content: f})
}
