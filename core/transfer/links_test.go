package transfer

import (
	"archive/tar"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOnlyWhatAStreamBroughtGetsAnotherName(t *testing.T) {
	for name, c := range map[string]struct {
		stream []tar.Header
		file   bool // the copy is a file, not a tree
	}{
		"the top is one beside":       {[]tar.Header{link(tar.TypeLink, ".", "beside")}, true},
		"the top is one further down": {[]tar.Header{link(tar.TypeLink, ".", ".git/config")}, true},
		"the top is itself":           {[]tar.Header{link(tar.TypeLink, ".", "copy")}, true},
		"the top came, and is one":    {[]tar.Header{file("."), link(tar.TypeLink, ".", "beside")}, true},
		"one in the tree":             {[]tar.Header{dir("."), link(tar.TypeLink, "a", "kept")}, false},
		"one through a link":          {[]tar.Header{dir("."), link(tar.TypeSymlink, "l", "d"), link(tar.TypeLink, "a", "l/deep")}, false},
		"one after a file":            {[]tar.Header{dir("."), file("x"), link(tar.TypeLink, "a", "d/deep")}, false},
		"one that was a file":         {[]tar.Header{dir("."), file("x"), link(tar.TypeSymlink, "x", "kept"), link(tar.TypeLink, "a", "x")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			world := t.TempDir()
			to := filepath.Join(world, "copy")
			destination := world
			theirs := []string{"beside", ".git/config", "copy/kept", "copy/d/deep"}
			if c.file {
				theirs = []string{"beside", ".git/config", "copy"}
				destination = to
			}
			for _, name := range theirs {
				path := filepath.Join(world, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte("theirs"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := Unpack(t.Context(), streamOf(t, c.stream...), destination, here(Options{Force: true, Base: "copy"})); err == nil {
				t.Error("it was taken")
			}
			for _, name := range theirs {
				info, err := os.Lstat(filepath.Join(world, name))
				if err != nil {
					t.Error(err)
				} else if n := linksOf(info); n != 1 {
					t.Errorf("%s has %d names", name, n)
				}
			}
			if c.file {
				return
			}
			if err := Unpack(t.Context(), streamOf(t, c.stream[1:]...), to, here(Options{Into: true})); err == nil {
				t.Error("it was taken into a directory")
			}
			for _, name := range theirs {
				if info, err := os.Lstat(filepath.Join(world, name)); err != nil || linksOf(info) != 1 {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func TestWhatAStreamBroughtGetsItsNames(t *testing.T) {
	world := t.TempDir()
	to := filepath.Join(world, "copy")
	for range 2 { // made, and then merged into
		stream := streamOf(t, dir("."), dir("d"), file("d/a"), link(tar.TypeLink, "b", "d/a"), link(tar.TypeLink, "d/c", "b"), link(tar.TypeLink, "b", "d/c"))
		if err := Unpack(t.Context(), stream, world, here(Options{Force: true, Base: "copy"})); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"d/a", "b", "d/c"} {
			if info, err := os.Lstat(filepath.Join(to, name)); err != nil || linksOf(info) != 3 {
				t.Errorf("%s: %v", name, err)
			}
		}
		if entries, err := os.ReadDir(to); err != nil || len(entries) != 2 {
			t.Errorf("there is %v, %v", entries, err)
		}
	}
}

func linksOf(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Nlink
	}
	return 0
}
