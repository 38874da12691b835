package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

func TestTextHoldsNothingThatATerminalActsOn(t *testing.T) {
	for _, tt := range []struct {
		output   string
		terminal bool
		clean    bool
	}{{"", false, true}, {"cat", false, true}, {"json", true, true}, {"json", false, false}, {"export", false, false}} {
		var out bytes.Buffer
		w := To{Out: &out, Terminal: tt.terminal}.writer(Selection{Output: tt.output})
		for _, part := range []string{"one\x1b[3", "1mtwo\n", "\n", "\x1b]0;title\x07three"} {
			if _, err := w.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		if got := out.String() == "onetwo\n\nthree\n"; got != tt.clean {
			t.Errorf("%+v: %q", tt, out.String())
		}
	}
}

func TestALineWithoutAnEndIsCut(t *testing.T) {
	var out bytes.Buffer
	w := &cleaner{to: &out}
	for range 100 {
		if _, err := w.Write(bytes.Repeat([]byte("x"), 10_000)); err != nil {
			t.Fatal(err)
		}
		if len(w.rest) > maxLine {
			t.Fatalf("%d bytes are held", len(w.rest))
		}
	}
	if !strings.Contains(out.String(), "\n") {
		t.Error("nothing was handed on")
	}
}

// TestNoFileOutsideOfTheTreeIsRead puts in the way what a machine could.
func TestNoFileOutsideOfTheTreeIsRead(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "system.journal")
	write(t, secret, "secret")
	for name, lay := range map[string]func(root string) error{
		"a file that is a link": func(root string) error {
			dir := filepath.Join(root, logs, "0123")
			return errors.Join(os.MkdirAll(dir, 0o755), os.Symlink(secret, filepath.Join(dir, "system.journal")))
		},
		"the directory of a machine is a link": func(root string) error {
			return errors.Join(os.MkdirAll(filepath.Join(root, logs), 0o755), os.Symlink(outside, filepath.Join(root, logs, "0123")))
		},
		"the directory of all is a link": func(root string) error {
			above := filepath.Dir(outside)
			return errors.Join(os.MkdirAll(filepath.Join(root, "var/log"), 0o755), os.Symlink(above, filepath.Join(root, logs)))
		},
		"a directory, named as a file": func(root string) error {
			return os.MkdirAll(filepath.Join(root, logs, "0123", "system.journal"), 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := lay(root); err != nil {
				t.Fatal(err)
			}
			tree, err := rootfs.Open(root)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tree.Close() }()
			files, err := open(tree)
			if err != nil || len(files) != 0 {
				t.Errorf("%d files are opened: %v", len(files), err)
			}
			if _, err := Kept(t.Context(), tree, Selection{}, To{}); !errors.Is(err, ErrNotKept) {
				t.Errorf("got %v, want ErrNotKept", err)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
