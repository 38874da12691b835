package transfer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// list is an access control list that lets a user and a group do everything.
func list(user, group uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	const owner, namedUser, groupOf, namedGroup, mask, other, nobody = 1, 2, 4, 8, 16, 32, 1<<32 - 1
	for _, e := range []struct {
		tag, rights uint16
		id          uint32
	}{{owner, 7, nobody}, {namedUser, 7, user}, {groupOf, 5, nobody}, {namedGroup, 7, group}, {mask, 7, nobody}, {other, 5, nobody}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.rights)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// bindService are the capabilities of a program that may bind low ports.
func bindService(rootid ...uint32) []byte {
	magic := uint32(0x02000001)
	if len(rootid) > 0 {
		magic = 0x03000001
	}
	b := binary.LittleEndian.AppendUint32(nil, magic)
	for _, set := range append([]uint32{1 << unix.CAP_NET_BIND_SERVICE, 0, 0, 0}, rootid...) {
		b = binary.LittleEndian.AppendUint32(b, set)
	}
	return b
}

// attributed is a tree with an attribute of every kind.
func attributed(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	tree := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "program"} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte("text"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range []struct {
		file, name string
		value      []byte
	}{
		{"", "user.of-the-tree", []byte("tree")},
		{"", defaultList, list(1001, 1002)},
		{"plain", "user.binary", []byte("a\x00b=\nc")},
		{"plain", "user.empty", nil},
		{"plain", "user.with=sign", []byte("x")},
		{"plain", "user.long", bytes.Repeat([]byte("x"), 3000)},
		{"plain", accessList, list(1003, 1004)},
		{"plain", "trusted.of-this-host", []byte("x")},
		{"program", capability, bindService()},
	} {
		if err := unix.Setxattr(filepath.Join(tree, a.file), a.name, a.value, 0); err != nil {
			t.Fatalf("%s of %q: %v", a.name, a.file, err)
		}
	}
	return tree
}

// has is the value of an attribute, "none" without one.
func has(t *testing.T, name, attribute string) string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(name, attribute, buf)
	if err == unix.ENODATA { //nolint:errorlint // a number
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestAttributesAreCopiedAndRightsOnlyWhenAsked(t *testing.T) {
	tree := attributed(t)
	var stream bytes.Buffer
	var left []string
	if err := Pack(&stream, tree, func(what string) { left = append(left, what) }); err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || !strings.Contains(left[0], "user.with=sign") {
		t.Errorf("this was said to be left out: %q", left)
	}
	for _, c := range []struct {
		name                  string
		o                     Options
		access, made, program string
	}{
		{"by default", Options{}, "none", "none", "none"},
		{"kept", Options{Keep: true}, string(list(1003, 1004)), string(list(1001, 1002)), string(bindService())},
		{"kept, for a range of users", Options{Keep: true, Shift: 1 << 20}, string(list(1<<20+1003, 1<<20+1004)), string(list(1<<20+1001, 1<<20+1002)), string(bindService(1 << 20))},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "copy")
			c.o.Skipped = func(what string) { t.Errorf("left out: %s", what) }
			if err := Unpack(t.Context(), bytes.NewReader(stream.Bytes()), to, here(c.o)); err != nil {
				t.Fatal(err)
			}
			for _, a := range []struct{ file, name, want string }{
				{"", "user.of-the-tree", "tree"},
				{"", defaultList, c.made},
				{"plain", "user.binary", "a\x00b=\nc"},
				{"plain", "user.empty", ""},
				{"plain", "user.long", strings.Repeat("x", 3000)},
				{"plain", "user.with=sign", "none"},
				{"plain", "trusted.of-this-host", "none"},
				{"plain", accessList, c.access},
				{"program", accessList, "none"}, // not what the directory gives to what is made in it
				{"program", capability, c.program},
			} {
				if got := has(t, filepath.Join(to, a.file), a.name); got != a.want {
					t.Errorf("%s of %q is %q, want %q", a.name, a.file, got, a.want)
				}
			}
		})
	}
	t.Run("and back", func(t *testing.T) {
		far, near := filepath.Join(t.TempDir(), "far"), filepath.Join(t.TempDir(), "near")
		if err := Unpack(t.Context(), bytes.NewReader(stream.Bytes()), far, here(Options{Keep: true, Shift: 1 << 20})); err != nil {
			t.Fatal(err)
		}
		var back bytes.Buffer
		if err := Pack(&back, far, func(string) {}); err != nil {
			t.Fatal(err)
		}
		if err := Unpack(t.Context(), &back, near, Options{Keep: true, Shift: -1 << 20}); err != nil {
			t.Fatal(err)
		}
		if got := has(t, filepath.Join(near, "plain"), accessList); got != string(list(1003, 1004)) {
			t.Errorf("the list is %q", got)
		}
		if got := has(t, filepath.Join(near, "program"), capability); got != string(bindService()) {
			t.Errorf("the capabilities are %q", got)
		}
	})
}

func TestAnAttributeThatCannotBeKeptIsSaidAndTheFileArrives(t *testing.T) {
	for name, c := range map[string]struct{ attribute, value string }{
		"no list":                    {accessList, "nonsense"},
		"a list of nobody here":      {accessList, string(list(3, 4))},
		"no capabilities":            {capability, "nonsense"},
		"capabilities of no root":    {capability, string(bindService(5))},
		"a revision that is unknown": {capability, "\x00\x00\x00\x07" + strings.Repeat("\x00", 16)},
	} {
		t.Run(name, func(t *testing.T) {
			var said string
			f, err := os.Create(filepath.Join(t.TempDir(), "file"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			Options{Shift: -1000, Skipped: func(what string) { said += what }}.setAttribute(f, "file", c.attribute, c.value)
			if !strings.Contains(said, fmt.Sprintf("%q: its attribute %q: ", "file", c.attribute)) {
				t.Errorf("it is said: %q", said)
			}
			if got := has(t, f.Name(), c.attribute); got != "none" {
				t.Errorf("it was set: %q", got)
			}
		})
	}
}
