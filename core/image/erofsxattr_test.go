package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestWhatIsNoErofsIsNotSorted: what a future mkfs.erofs makes is not guessed at.
func TestWhatIsNoErofsIsNotSorted(t *testing.T) {
	head := func(change func(b []byte)) []byte {
		b := make([]byte, 4096)
		binary.LittleEndian.PutUint32(b[erofsSuper:], erofsMagic)
		b[erofsSuper+12] = 12
		change(b)
		return b
	}
	for name, content := range map[string][]byte{
		"nothing":           nil,
		"another magic":     head(func(b []byte) { b[erofsSuper] = 0 }),
		"blocks of a byte":  head(func(b []byte) { b[erofsSuper+12] = 0 }),
		"a wrong checksum":  head(func(b []byte) { b[erofsSuper+8] = 1 }),
		"a root elsewhere":  head(func(b []byte) { b[erofsSuper+42] = 1 }),
		"shared attributes": head(func(b []byte) { b[2], b[4] = 2, 1; b[32+4] = 1 }),
		"cut attributes":    head(func(b []byte) { b[2] = 2; b[32+12], b[32+13] = 200, 1 }),
		"a packed directory": head(func(b []byte) {
			b[0] = 3 << 1
			binary.LittleEndian.PutUint16(b[4:], 0o040755)
		}),
		"an empty block of a directory": head(func(b []byte) {
			binary.LittleEndian.PutUint16(b[4:], 0o040755)
			b[8] = 13
		}),
	} {
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		err := sortErofs(path)
		if err == nil || name != "nothing" && name != "a root elsewhere" && !errors.Is(err, errErofs) {
			t.Errorf("%s: %v", name, err)
		}
		if is, err := os.ReadFile(path); err != nil || !bytes.Equal(is, content) {
			t.Errorf("%s was changed, %v", name, err)
		}
	}
}
