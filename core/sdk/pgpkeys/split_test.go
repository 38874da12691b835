package pgpkeys_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/core/sdk/pgpkeys"
)

// keyring is what `gpg --armor --export` wrote of two keys, in the binary form.
func keyring(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/two-keys.asc")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pgpkeys.Binary(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// The fingerprints and the date are those that gpg itself lists.
func TestKeysAreThoseThatGnuPGSees(t *testing.T) {
	keys, err := pgpkeys.Split(keyring(t))
	if err != nil || len(keys) != 2 {
		t.Fatalf("there are %d keys, %v", len(keys), err)
	}
	if k := keys[0]; k.Fingerprint != "54478B3B244C1519270F05CFEE5DAABEB782B390" || !k.Expires.IsZero() || k.Revoked {
		t.Errorf("the first is %s, %s, %t", k.Fingerprint, k.Expires, k.Revoked)
	}
	if k := keys[1]; k.Fingerprint != "A78676DA5775D6892A72C3602DBE4F0A8E2D5BFF" || k.Expires.Unix() != 1748779200 {
		t.Errorf("the second is %s, %s", k.Fingerprint, k.Expires)
	}
	for when, valid := range map[int64]bool{1748779199: true, 1748779200: false} {
		if got := keys[1].Valid(time.Unix(when, 0)); got != valid {
			t.Errorf("at %d it is valid: %t", when, got)
		}
	}
}

func TestAKeyInTheTextFormIsTheSameKey(t *testing.T) {
	keys, err := pgpkeys.Split(keyring(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		packets, err := pgpkeys.Binary(pgpkeys.Armor(key))
		if err != nil || !bytes.Equal(packets, key.Packets) {
			t.Errorf("%s comes back as %d bytes, want %d, %v", key.Fingerprint, len(packets), len(key.Packets), err)
		}
	}
}

func TestWhatIsNoKeyringIsRefused(t *testing.T) {
	whole := keyring(t)
	for name, data := range map[string][]byte{
		"nothing": {}, "text": []byte("hello"), "cut off": whole[:100], "a signature first": {0xc2, 1, 4}, "no length": {0x99},
		"of version 3": {0xc6, 6, 3, 0, 0, 0, 0, 0},
	} {
		if keys, err := pgpkeys.Split(data); err == nil {
			t.Errorf("%s: %+v", name, keys)
		}
	}
}

func FuzzSplitKeepsEveryByte(f *testing.F) {
	f.Add(keyring(f))
	f.Add([]byte{0xc6, 6, 4, 0, 0, 0, 0, 0, 0xc2, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := pgpkeys.Split(data)
		if err != nil {
			return
		}
		var all []byte
		for _, key := range keys {
			all = append(all, key.Packets...)
		}
		if !bytes.Equal(all, data) {
			t.Errorf("%d bytes became %d", len(data), len(all))
		}
	})
}
