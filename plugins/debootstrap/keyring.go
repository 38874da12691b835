package main

import (
	"errors"
	"slices"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
)

// keyring is a file of public keys on the host.
type keyring struct {
	path string
	own  bool // the user's or the host's own, not the distribution's
}

// standardKeyrings are where the distribution's keyring is, by preference. In
// Debian 13 the first is a link to the second.
func standardKeyrings(distro string) []string {
	return []string{
		"/usr/share/keyrings/" + distro + "-archive-keyring.gpg",
		"/usr/share/keyrings/" + distro + "-archive-keyring.pgp",
	}
}

// keyringPackages says which package brings a distribution's keyring where.
var keyringPackages = map[string]map[string]string{
	"debian": {sdk.FamilyDebian: "debian-archive-keyring", sdk.FamilyArch: "debian-archive-keyring", sdk.FamilyFedora: "debian-keyring"},
	"ubuntu": {sdk.FamilyDebian: "ubuntu-keyring", sdk.FamilyArch: "ubuntu-keyring", sdk.FamilyFedora: "ubu-keyring"},
}

// resolveKeyring decides which keys are trusted.
func (h host) resolveKeyring(j *job, asked string, found *sdk.Findings) {
	standard := standardKeyrings(j.distro)
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
			j.keyring = keyring{path: file}
			return
		}
	}
	j.keyring = keyring{path: standard[0]}
	found.Missing("keyring", "the keys that sign "+j.distro+" are not on this host: there is no "+standard[0],
		h.InstallHint(keyringPackages[j.distro]))
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
