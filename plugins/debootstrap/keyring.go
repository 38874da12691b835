package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
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
	"debian": {familyDebian: "debian-archive-keyring", familyArch: "debian-archive-keyring", familyFedora: "debian-keyring"},
	"ubuntu": {familyDebian: "ubuntu-keyring", familyArch: "ubuntu-keyring", familyFedora: "ubu-keyring"},
}

// resolveKeyring decides which keys are trusted.
func (h host) resolveKeyring(j *job, asked string, found *findings) {
	standard := standardKeyrings(j.distro)
	if asked != "" && !slices.Contains(standard, asked) {
		j.keyring = keyring{path: asked, own: true}
		if err := h.checkKeyring(asked); err != nil {
			found.refuse("keyring", quoted(asked)+" "+err.Error(),
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
	found.missing("keyring", "the keys that sign "+j.distro+" are not on this host: there is no "+standard[0],
		h.install(keyringPackages[j.distro]))
}

// checkKeyring reports what is wrong with a keyring, as the rest of a sentence
// that begins with its path.
func (h host) checkKeyring(file string) error {
	if !safePath.MatchString(file) || path.Clean(file) != file {
		return errors.New("is not a plain absolute path")
	}
	info, err := fs.Stat(h.root, strings.TrimPrefix(file, "/"))
	switch {
	case err != nil:
		return errors.New("cannot be read: " + cause(err))
	case !info.Mode().IsRegular():
		return errors.New("is not a regular file")
	case info.Size() > 16<<20:
		return errors.New("is too large for a keyring")
	}
	text, err := fs.ReadFile(h.root, strings.TrimPrefix(file, "/"))
	if err != nil {
		return errors.New("cannot be read: " + cause(err))
	}
	_, err = binaryKeys(text)
	return err
}

// cause is the innermost message of err, without paths that were said already.
func cause(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

// armor is how a keyring in the text form (RFC 9580, 6.2) begins and ends.
const (
	armorBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	armorEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// binaryKeys returns the keys of a keyring in the binary form, which is the
// only one that gpgv reads and that every apt does.
func binaryKeys(text []byte) ([]byte, error) {
	switch {
	case len(text) == 0:
		return nil, errors.New("is empty")
	case len(text) >= 12 && string(text[8:12]) == "KBXf":
		return nil, errors.New("is a keybox, which only GnuPG itself can read")
	case text[0]&0x80 != 0: // the tag of a packet
		return text, nil
	case !bytes.Contains(text, []byte(armorBegin)):
		return nil, errors.New("is not a keyring")
	}
	var keys []byte
	var block strings.Builder
	inBlock, inBody := false, false
	in := bufio.NewScanner(bytes.NewReader(text))
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		switch {
		case line == armorBegin:
			inBlock, inBody = true, false
			block.Reset()
		case line == armorEnd && inBlock:
			packets, err := base64.StdEncoding.DecodeString(block.String())
			if err != nil || len(packets) == 0 {
				return nil, errors.New("is damaged")
			}
			keys = append(keys, packets...)
			inBlock = false
		case inBlock && line == "":
			inBody = true // the headers are over
		case inBlock && inBody && !strings.HasPrefix(line, "="): // not the checksum
			block.WriteString(line)
		}
	}
	if inBlock || len(keys) == 0 || in.Err() != nil {
		return nil, errors.New("is damaged")
	}
	return keys, nil
}
