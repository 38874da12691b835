package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// large is a stream of a tree with one file of that many bytes.
func large(t *testing.T, name string, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if name != "." {
		d := dir(".")
		d.Mode = 0o755
		if err := w.WriteHeader(&d); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.Repeat("new\n", size/4)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// replaced unpacks a stream over a tree with one file, and says what is left of
// that.
func replaced(t *testing.T, world string, stream []byte, tree bool) (string, error) {
	t.Helper()
	o, path := here(Options{Force: true, Base: "copy"}), filepath.Join(world, "copy")
	if tree {
		path = filepath.Join(path, "file")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	failure := Unpack(t.Context(), bytes.NewReader(stream), world, o)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("there is %v, %v", entries, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(text), failure
}

func TestTheOldFileStaysUntilTheNewOneIsWhole(t *testing.T) {
	const size = 1 << 20
	for name, tree := range map[string]bool{".": false, "file": true} {
		stream := large(t, name, size)
		if text, err := replaced(t, t.TempDir(), stream[:size/2], tree); err == nil || text != "old" {
			t.Errorf("%q cut short: it says %.10q, %v", name, text, err)
		}
		if text, err := replaced(t, t.TempDir(), stream, tree); err != nil || text != strings.Repeat("new\n", size/4) {
			t.Errorf("%q: it says %.10q, %v", name, text, err)
		}
	}
	// What is of no kind that is copied, and a link to nothing, replace nothing.
	for _, h := range []tar.Header{{Typeflag: tar.TypeFifo, Name: "file"}, link(tar.TypeLink, "file", "nothing")} {
		stream, err := io.ReadAll(streamOf(t, dir("."), h))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := replaced(t, t.TempDir(), stream, true); err == nil || text != "old" {
			t.Errorf("%q: it says %.10q, %v", h.Typeflag, text, err)
		}
	}
}

// TestTheOldFileStaysWhereThereIsNoRoom runs itself in a mount namespace of its own.
func TestTheOldFileStaysWhereThereIsNoRoom(t *testing.T) {
	const inside = "NSPAWN_BUILD_TEST_NO_ROOM"
	asRoot(t)
	if os.Getenv(inside) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestTheOldFileStaysWhereThereIsNoRoom$")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for name, tree := range map[string]bool{".": false, "file": true} {
		world := t.TempDir()
		if err := unix.Mount("tmpfs", world, "tmpfs", 0, "size=256k,mode=0755"); err != nil {
			t.Fatal(err)
		}
		text, err := replaced(t, world, large(t, name, 1<<20), tree)
		if !errors.Is(err, unix.ENOSPC) || text != "old" {
			t.Errorf("%q: it says %.10q, %v", name, text, err)
		}
		if err := unix.Unmount(world, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}
