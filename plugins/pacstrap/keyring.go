package main

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
)

// keyring is where the keys come from that are trusted.
type keyring struct {
	path string // a file of public keys
	own  bool   // the user's: all of its keys are trusted, and no others
	name string // otherwise pacman-key's name of the distribution's: archlinux
}

// keyringDirectories are where pacman-key finds the keyrings of distributions:
// Debian's looks in the first, all others in the second.
var keyringDirectories = []string{"/usr/share/keyrings", "/usr/share/pacman/keyrings"}

// keyringNames are pacman-key's names of the distributions' keyrings.
var keyringNames = map[string]string{x86: "archlinux", arm: "archlinuxarm"}

// files are the files of the distribution's keyring, of which the first
// must be there.
func (k keyring) files() []string {
	if k.own {
		return []string{k.path}
	}
	base := k.path[:len(k.path)-len(".gpg")]
	return []string{k.path, base + "-trusted", base + "-revoked"}
}

// resolveKeyring decides which keys are trusted.
func (h host) resolveKeyring(j *job, asked string, found *sdk.Findings) {
	name := keyringNames[j.machine]
	if name == "" {
		name = keyringNames[x86]
	}
	var standard []string
	for _, directory := range keyringDirectories {
		standard = append(standard, directory+"/"+name+".gpg")
	}
	if asked != "" && !slices.Contains(standard, asked) {
		j.keyring = keyring{path: asked, own: true}
		if err := h.checkKeyring(asked); err != nil {
			found.Refuse("keyring", sdk.Quoted(asked)+" "+err.Error(),
				"give the absolute path of a file that `gpg --export` wrote")
		}
		return
	}
	for _, file := range standard {
		if h.checkKeyring(file) == nil {
			j.keyring = keyring{path: file, name: name}
			return
		}
	}
	j.keyring = keyring{path: standard[0], name: name}
	if h.Family() == sdk.FamilyArch || h.Family() == sdk.FamilyFedora {
		j.keyring.path = standard[1]
	}
	hint := h.InstallHint(packagesOf("archlinux-keyring", "archlinux-keyring", "archlinux-keyring"))
	if j.machine == arm {
		hint = "name them with --keyring: they are in the package archlinuxarm-keyring of Arch Linux ARM"
	}
	found.Missing("keyring", "the keys that sign packages for "+j.machine+" are not on this host: there is no "+j.keyring.path, hint)
}

// checkKeyring reports what is wrong with a keyring, as the rest of a sentence
// that begins with its path.
func (h host) checkKeyring(file string) error {
	if !safePath.MatchString(file) {
		return errors.New("is not a plain absolute path")
	}
	_, err := pgpkeys.Read(h.Root, file)
	return err
}

// readOptional reads a file of the host's that may be missing.
func (h host) readOptional(file string) ([]byte, error) {
	content, err := fs.ReadFile(h.Root, file[1:])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return content, err
}
