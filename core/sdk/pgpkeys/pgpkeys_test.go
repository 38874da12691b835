package pgpkeys_test

import (
	"encoding/base64"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
)

// aKey is enough of a keyring: the tag of a public key packet.
const aKey = "\x99\x01\x0d not really a key"

const (
	begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	end   = "-----END PGP PUBLIC KEY BLOCK-----"
)

func TestKeyringsBecomeBinary(t *testing.T) {
	armored := func(packets string) string {
		return begin + "\nComment: of a test\n\n" + base64.StdEncoding.EncodeToString([]byte(packets)) + "\n=abcd\n" + end + "\n"
	}
	for name, c := range map[string]struct {
		text, want string
		good       bool
	}{
		"binary":           {aKey, aKey, true},
		"text":             {armored(aKey), aKey, true},
		"several in text":  {"# two keys\n" + armored(aKey) + armored("\x98another"), aKey + "\x98another", true},
		"cut off":          {begin + "\n\nmQENBF\n", "", false},
		"not base64":       {begin + "\n\n****\n" + end + "\n", "", false},
		"empty":            {"", "", false},
		"keybox":           {"\x00\x00\x00\x20\x01\x01\x00\x02KBXf\x00\x00\x00\x00", "", false},
		"something else":   {"hello", "", false},
		"nothing in block": {begin + "\n\n" + end + "\n", "", false},
	} {
		got, err := pgpkeys.Binary([]byte(c.text))
		if string(got) != c.want || (err == nil) != c.good {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestOnlyPlainFilesAreRead(t *testing.T) {
	root := fstest.MapFS{
		"keys/good.gpg": {Data: []byte(aKey)},
		"keys/fifo":     {Mode: fs.ModeNamedPipe},
		"keys/huge.gpg": {Data: make([]byte, 16<<20+1)},
	}
	for file, good := range map[string]bool{
		"/keys/good.gpg": true, "/keys/fifo": false, "/keys/huge.gpg": false, "/keys": false, "/none": false,
		"keys/good.gpg": false, "/keys/../keys/good.gpg": false, "": false,
	} {
		if _, err := pgpkeys.Read(root, file); (err == nil) != good {
			t.Errorf("%q: %v", file, err)
		}
	}
}
