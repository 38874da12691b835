package transfer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/sys/unix"
)

func TestANameIsSaidSoThatATerminalCanBeGivenIt(t *testing.T) {
	const name = "\x1b[2J\u202egpj\u009b.\nerror: forged"
	harmless := func(said string) {
		t.Helper()
		if !strings.Contains(said, "gpj") || strings.ContainsFunc(said, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
			t.Errorf("it says %q", said)
		}
	}
	tree, to := t.TempDir(), t.TempDir()
	if err := unix.Mkfifo(filepath.Join(tree, name), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	left := 0
	if err := Pack(&b, tree, func(what string) { left++; harmless(what) }); err != nil || left != 1 {
		t.Errorf("%d were left out, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(to, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range []byte{'0', '1', '3', '5'} {
		err := Unpack(t.Context(), streamOf(t, dir("."), link(h, name, "gpj")), to, here(Options{Into: true}))
		if err == nil {
			t.Fatal("it was taken")
		}
		harmless(err.Error())
	}
}
