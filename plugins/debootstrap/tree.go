package main

import (
	"fmt"
	"os"

	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
	"github.com/nspawn-build/nspawn-build/core/sdk/target"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/release"
)

// tree is the root file system that is being made.
type tree struct{ target.Tree }

// prepare lays out what apt and dpkg need to find in an empty tree.
func (t tree) prepare(j *job, fromHost []string) error {
	if err := t.Own(); err != nil {
		return err
	}
	directories := []string{
		"etc/apt/apt.conf.d", "etc/apt/keyrings", "etc/apt/preferences.d", "etc/apt/sources.list.d",
		"etc/dpkg/dpkg.cfg.d", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/lib/dpkg",
	}
	for _, name := range directories {
		if err := t.Mkdir(name); err != nil {
			return err
		}
	}
	files := map[string]string{
		temporaryApt:  j.treeConfig(fromHost),
		temporaryDpkg: unsynced,
		// The tools copy those of the host unless they are there.
		"etc/hostname":    "",
		"etc/resolv.conf": "",
	}
	if j.engine == engineMmdebstrap {
		files["var/lib/dpkg/status"] = ""
	}
	if preferences := j.preferences(); preferences != "" {
		files[temporaryPins] = preferences
	}
	for name, content := range files {
		if err := t.Write(name, []byte(content)); err != nil {
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
		if err := t.Mkdir("usr/" + name); err != nil {
			return err
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
		if err := t.Write(j.keyringInTree(k, security)[1:], keys); err != nil {
			return err
		}
	}
	if err := t.Delete("etc/apt/sources.list"); err != nil {
		return err
	}
	text := aptsource.Render("For the time of the bootstrap only.", j.sources(a, v))
	return t.Write(temporarySources, []byte(text))
}

// readKeys reads a keyring of the host's in the binary form.
func readKeys(file string) ([]byte, error) {
	read, err := pgpkeys.Read(os.DirFS("/"), file)
	if err != nil {
		return nil, fmt.Errorf("keyring: %s %w", file, err)
	}
	return read, nil
}
