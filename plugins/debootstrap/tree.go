package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// tree is the root file system that is being made. All that the plugin itself
// reads and writes in it goes through os.Root, which does not follow a link
// out of it.
type tree struct{ *os.Root }

func openTree(target string) (tree, error) {
	root, err := os.OpenRoot(target)
	if err != nil {
		return tree{}, fmt.Errorf("target: %w", err)
	}
	return tree{root}, nil
}

// write puts a file of root's in place of whatever has its name.
func (t tree) write(name string, content []byte) error {
	if err := t.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if err := t.remove(name); err != nil {
		return err
	}
	f, err := t.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	_, err = f.Write(content)
	// The mode does not depend on the umask of whoever started the host.
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// remove removes a file or link, if it is there.
func (t tree) remove(name string) error {
	if err := t.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// prepare lays out what apt and dpkg need to find in an empty tree.
func (t tree) prepare(j *job, fromHost []string) error {
	if err := errors.Join(t.Chmod(".", 0o755), t.Chown(".", 0, 0)); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	directories := []string{
		"etc/apt/apt.conf.d", "etc/apt/keyrings", "etc/apt/preferences.d", "etc/apt/sources.list.d",
		"etc/dpkg/dpkg.cfg.d", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/lib/dpkg",
	}
	for _, name := range directories {
		if err := t.MkdirAll(name, 0o755); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	files := map[string]string{
		temporaryApt:  treeConfig(fromHost),
		temporaryDpkg: unsynced,
		// The tools copy those of the host unless they are there.
		"etc/hostname":    "",
		"etc/resolv.conf": "",
	}
	if j.engine == engineMmdebstrap {
		files["var/lib/dpkg/status"] = ""
		if release.UsrIsMerged(j.distro, j.codename) {
			files[temporaryPins] = pins
		}
	}
	for name, content := range files {
		if err := t.write(name, []byte(content)); err != nil {
			return err
		}
	}
	if j.engine == engineMmdebstrap && release.MergedUsr(j.distro, j.suite) {
		return t.mergeUsr(j.architecture)
	}
	return nil
}

// mergeUsr makes the links that a merged /usr has from the start, as
// debootstrap does it.
func (t tree) mergeUsr(architecture string) error {
	names := []string{"bin", "sbin", "lib"}
	switch architecture {
	case "amd64", "loong64", "ppc64el":
		names = append(names, "lib64")
	}
	for _, name := range names {
		if err := t.MkdirAll("usr/"+name, 0o755); err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if err := t.Symlink("usr/"+name, name); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	return nil
}

// useSources makes apt in and on the tree read a, and nothing else.
func (t tree) useSources(j *job, a archive, v viewpoint) error {
	for _, security := range []bool{false, true} {
		k := a.key
		if security {
			k = a.securityKey
		}
		if !k.own {
			continue
		}
		keys, err := readKeys(k.path)
		if err != nil {
			return err
		}
		if err := t.write(j.keyringInTree(k, security)[1:], keys); err != nil {
			return err
		}
	}
	if err := t.remove("etc/apt/sources.list"); err != nil {
		return err
	}
	text := aptsource.Render("For the time of the bootstrap only.", j.sources(a, v))
	return t.write(temporarySources, []byte(text))
}

// readKeys reads a keyring of the host's in the binary form.
func readKeys(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	keys, err := binaryKeys(text)
	if err != nil {
		return nil, fmt.Errorf("keyring: %s %w", file, err)
	}
	return keys, nil
}

// within gives do a path to a directory of the tree that stays the same
// directory, and one of the tree, whatever happens to its name.
func (t tree) within(name string, do func(directory string) error) error {
	directory, err := t.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer directory.Close() //nolint:errcheck // only a place
	return do(fmt.Sprintf("/proc/self/fd/%d", directory.Fd()))
}

// clear empties a directory of the tree.
func (t tree) clear(name string) error {
	entries, err := fs.ReadDir(t.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	for _, entry := range entries {
		if err := t.RemoveAll(path.Join(name, entry.Name())); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	return nil
}
