// Package pgpkeys reads files of OpenPGP public keys, as people give them with
// --keyring and distributions ship them, and tells the keys in them apart.
package pgpkeys

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"path"
	"strings"
)

// maxSize is many times the size of any real keyring.
const maxSize = 16 << 20

// Read returns the keys of a file in the binary form. root is the host's root
// directory and file an absolute path. An error is the rest of a sentence that
// begins with the path.
func Read(root fs.FS, file string) ([]byte, error) {
	if !path.IsAbs(file) || path.Clean(file) != file {
		return nil, errors.New("is not a plain absolute path")
	}
	name := strings.TrimPrefix(file, "/")
	info, err := fs.Stat(root, name)
	switch {
	case err != nil:
		return nil, errors.New("cannot be read: " + cause(err))
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > maxSize:
		return nil, errors.New("is too large for a keyring")
	}
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, errors.New("cannot be read: " + cause(err))
	}
	return Binary(text)
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

// Binary returns the keys of a keyring in the binary form, which is the only one
// that gpgv reads and that every tool does. An error is the rest of a sentence
// that begins with the keyring.
func Binary(text []byte) ([]byte, error) {
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
