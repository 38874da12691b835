package transfer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/archive/archivetest"
)

// here unpacks as whoever runs the test.
func here(o Options) Options {
	o.UID, o.GID = os.Getuid(), os.Getgid()
	return o
}

// archive is a stream with these entries.
func streamOf(t testing.TB, headers ...tar.Header) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		text := ""
		if h.Typeflag == tar.TypeReg {
			text = "hostile"
		}
		h.Size, h.ModTime, h.Format = int64(len(text)), time.Unix(1e9, 0), tar.FormatPAX
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func dir(name string) tar.Header  { return tar.Header{Typeflag: tar.TypeDir, Name: name} }
func file(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
func link(kind byte, name, target string) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Linkname: target}
}

func TestAHostileStreamNeverLeavesTheDestination(t *testing.T) {
	for name, stream := range map[string][]tar.Header{
		"a path that climbs":           {dir("."), file("../precious")},
		"an absolute path":             {dir("."), file("/../precious")},
		"a file through a link":        {dir("."), link(tar.TypeSymlink, "a", ".."), file("a/precious")},
		"a file through a far link":    {dir("."), link(tar.TypeSymlink, "a", "OUTSIDE"), file("a/precious")},
		"a directory through a link":   {dir("."), link(tar.TypeSymlink, "a", "OUTSIDE"), dir("a/sub")},
		"a directory over a link":      {dir("."), link(tar.TypeSymlink, "a", "OUTSIDE"), dir("a"), file("a/precious")},
		"a file over a link":           {dir("."), link(tar.TypeSymlink, "a", "OUTSIDE/precious"), file("a")},
		"a hard link out":              {dir("."), link(tar.TypeLink, "a", "../precious"), file("a")},
		"a hard link through a link":   {dir("."), link(tar.TypeSymlink, "d", "OUTSIDE"), link(tar.TypeLink, "a", "d/precious"), file("a")},
		"a hard link to a link":        {dir("."), link(tar.TypeSymlink, "d", "OUTSIDE/precious"), link(tar.TypeLink, "a", "d"), file("a")},
		"the top twice":                {dir("."), file("."), file("./x")},
		"a link for the top":           {link(tar.TypeSymlink, ".", "OUTSIDE"), file("precious")},
		"a file before its directory":  {file("precious"), dir(".")},
		"a device":                     {dir("."), {Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
		"a kind that nobody has heard": {dir("."), {Typeflag: 'Z', Name: "z"}},
	} {
		for _, force := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				world := t.TempDir()
				if err := os.WriteFile(filepath.Join(world, "precious"), []byte("untouched"), 0o600); err != nil {
					t.Fatal(err)
				}
				inner := filepath.Join(world, "inner")
				if err := os.Mkdir(inner, 0o755); err != nil {
					t.Fatal(err)
				}
				for i := range stream {
					stream[i].Linkname = strings.Replace(stream[i].Linkname, "OUTSIDE", world, 1)
				}
				if err := Unpack(t.Context(), streamOf(t, stream...), filepath.Join(inner, "copy"), here(Options{Force: force})); err == nil {
					t.Log("taken, as far as it stayed inside")
				}
				entries, err := os.ReadDir(world)
				if err != nil || len(entries) != 2 {
					t.Errorf("outside there is %v, %v", entries, err)
				}
				if text, err := os.ReadFile(filepath.Join(world, "precious")); string(text) != "untouched" {
					t.Errorf("a file outside says %q, %v", text, err)
				}
				for _, base := range []string{"null", "z"} {
					if _, err := os.Lstat(filepath.Join(inner, "copy", base)); err == nil {
						t.Errorf("%s was made", base)
					}
				}
			})
		}
	}
}

func TestWhatFailsLeavesNothing(t *testing.T) {
	to := filepath.Join(t.TempDir(), "copy")
	whole, err := io.ReadAll(streamOf(t, dir("."), file("a"), file("b")))
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 100, 600, 1100, len(whole) - 1600} {
		if err := Unpack(t.Context(), bytes.NewReader(whole[:cut]), to, here(Options{})); err == nil {
			t.Errorf("%d of %d bytes were enough", cut, len(whole))
		}
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after %d bytes this is left: %v", cut, err)
		}
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(t.Context(), streamOf(t, dir("."), file("../x")), to, here(Options{Base: "in"})); err == nil {
		t.Error("a stream that leads out was taken")
	}
	if entries, err := os.ReadDir(to); err != nil || len(entries) != 0 {
		t.Errorf("this is left: %v, %v", entries, err)
	}
}

func TestSetuidBitsDoNotArriveUnlessOwnersDo(t *testing.T) {
	suid := tar.Header{Typeflag: tar.TypeReg, Name: ".", Mode: 0o6755, Uid: os.Getuid(), Gid: os.Getgid()}
	for keep, want := range map[bool]fs.FileMode{false: 0o755, true: 0o755 | fs.ModeSetuid | fs.ModeSetgid} {
		to := filepath.Join(t.TempDir(), "file")
		if err := Unpack(t.Context(), streamOf(t, suid), to, here(Options{Keep: keep})); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(to); err != nil || info.Mode() != want {
			t.Errorf("with keep %v it has %v, %v", keep, info.Mode(), err)
		}
	}
}

// TestATreeThatIsChangedWhileItIsPackedGivesNothingElse has a thread that turns
// a directory into a link to a secret and back.
func TestATreeThatIsChangedWhileItIsPackedGivesNothingElse(t *testing.T) {
	world := t.TempDir()
	secret, tree := filepath.Join(world, "secret"), filepath.Join(world, "tree")
	for _, d := range []string{secret, filepath.Join(tree, "a"), filepath.Join(tree, "b")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(secret, "file"), filepath.Join(tree, "a", "file"), filepath.Join(tree, "f")} {
		if err := os.WriteFile(f, []byte("of "+filepath.Base(filepath.Dir(f))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(secret, filepath.Join(tree, "l")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(secret, "file"), filepath.Join(tree, "lf")); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			for _, pair := range [][2]string{{"a", "l"}, {"f", "lf"}} {
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(tree, pair[0]), unix.AT_FDCWD, filepath.Join(tree, pair[1]), unix.RENAME_EXCHANGE)
			}
		}
	}()
	for range 300 {
		var b bytes.Buffer
		_ = Pack(&b, tree, func(string) {}) // that it changes may be an error
		if bytes.Contains(b.Bytes(), []byte("of secret")) {
			t.Fatal("the secret was packed")
		}
	}
	stop.Store(true)
	<-done
}

func FuzzUnpack(f *testing.F) {
	seed, err := io.ReadAll(streamOf(f, dir("."), link(tar.TypeSymlink, "a", ".."), file("a/b")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	for _, size := range []int64{1 << 10, math.MaxInt64} {
		for _, sparse := range archivetest.Sparse("holes", size) {
			f.Add(sparse)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		world := t.TempDir()
		// What is said to be of many bytes that do not come takes its time.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = Unpack(ctx, bytes.NewReader(data), filepath.Join(world, "copy"), here(Options{})) // most are no archive
		entries, err := os.ReadDir(world)
		if err != nil || len(entries) > 1 || (len(entries) == 1 && entries[0].Name() != "copy") {
			t.Errorf("outside there is %v, %v", entries, err)
		}
	})
}
