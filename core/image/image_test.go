package image_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/archive/archivetest"
	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string) *rootfs.Tree {
	t.Helper()
	tree, err := rootfs.Open(path)
	must(t, err)
	t.Cleanup(func() { must(t, tree.Close()) })
	return tree
}

// options are the same for every image of the odd tree.
func options() image.Options {
	return image.Options{
		Name: "odd", Arch: "x86_64", Epoch: archivetest.Old.Add(time.Second),
		Labels: map[string]string{"b": "2", "a": "1"},
	}
}

// planted is the odd tree.
func planted(t testing.TB, dir string, seed uint64) string {
	t.Helper()
	root := filepath.Join(dir, "tree")
	archivetest.Plant(t, root, seed)
	return root
}

func TestTwoBuildsOfATreeAreTheSameBytesInEveryFormat(t *testing.T) {
	first := open(t, planted(t, t.TempDir(), 1))
	second := open(t, planted(t, elsewhere(t), 2))
	made := map[image.Format]image.Artifact{}
	for _, f := range image.Formats() {
		needs(t, f)
		one, err := image.Write(t.Context(), first, f, filepath.Join(t.TempDir(), "one"), options())
		must(t, err)
		made[f] = one
	}
	time.Sleep(1100 * time.Millisecond) // what keeps the time of the build keeps seconds of it
	for f, one := range made {
		t.Run(string(f), func(t *testing.T) {
			two, err := image.Write(t.Context(), second, f, filepath.Join(elsewhere(t), "two-with-a-longer-name"), options())
			must(t, err)
			if one.SHA256 != two.SHA256 || one.Size != two.Size {
				t.Errorf("%+v\nand %+v", one, two)
			}
			sameFiles(t, one.Path, two.Path)
		})
	}
}

// needs fails where a program is missing: packaging/install-deps has installed it.
func needs(t testing.TB, f image.Format) {
	t.Helper()
	for _, n := range image.Needs(f) {
		if err := image.Lacks(n); err != nil {
			t.Fatal(err)
		}
	}
}

// sameFiles compares byte by byte what is at two paths.
func sameFiles(t testing.TB, one, two string) {
	t.Helper()
	if diff := cmp.Diff(archivetest.Portrait(t, one), archivetest.Portrait(t, two), cmp.FilterValues(func(string, string) bool { return true },
		cmp.Comparer(func(a, b string) bool { return timeless(a) == timeless(b) }))); diff != "" {
		t.Error(diff)
	}
}

// timeless is a line of a portrait without the time of the file.
func timeless(line string) string {
	before, after, _ := strings.Cut(line, " changed ")
	_, after, _ = strings.Cut(after, " ")
	return before + " " + after
}

// elsewhere is a directory on another file system where there is one, or
// another directory.
func elsewhere(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "image-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func TestAnImageUnpacksToWhatItWasMadeOf(t *testing.T) {
	root := planted(t, t.TempDir(), 1)
	want := archivetest.Portrait(t, root)
	for _, f := range image.Formats() {
		t.Run(string(f), func(t *testing.T) {
			needs(t, f)
			dir := t.TempDir()
			var told []uint64
			o := options()
			o.Epoch = time.Time{}
			o.Progress = func(done, total uint64) { told = append(told, done, total) }
			a, err := image.Write(t.Context(), open(t, root), f, filepath.Join(dir, "image"), o)
			must(t, err)
			if n := len(told); n < 2 || told[n-1] != uint64(len(want)) || told[n-2] != told[n-1] {
				t.Errorf("of %d entries it told %v", len(want), told)
			}
			found, err := image.FormatOf(a.Path)
			must(t, err)
			if found != f {
				t.Errorf("it is taken for %s", found)
			}
			to := filepath.Join(dir, "unpacked")
			err = image.Unpack(t.Context(), a.Path, f, to)
			if errors.Is(err, image.ErrNoLoop) && os.Getenv("CI") == "" {
				t.Skip(err)
			}
			must(t, err)
			if diff := cmp.Diff(want, archivetest.Portrait(t, to)); diff != "" {
				t.Error(diff)
			}
			left, err := os.ReadDir(dir)
			must(t, err)
			if len(left) != 2 {
				t.Errorf("beside the image and the tree there is %v", left)
			}
		})
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	root := planted(t, t.TempDir(), 1)
	out := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(out, []byte("mine"), 0o600))
	for _, f := range image.Formats() {
		if _, err := image.Write(t.Context(), open(t, root), f, out, options()); !errors.Is(err, os.ErrExist) {
			t.Errorf("%s: it says %v", f, err)
		}
		if err := image.Unpack(t.Context(), out, f, root); !errors.Is(err, os.ErrExist) {
			t.Errorf("unpacking %s over a tree says %v", f, err)
		}
	}
	data, err := os.ReadFile(out)
	must(t, err)
	if string(data) != "mine" {
		t.Errorf("there is %q", data)
	}
}

func TestWhatFailsLeavesNothing(t *testing.T) {
	root := filepath.Join(t.TempDir(), "tree")
	must(t, os.MkdirAll(root, 0o755))
	must(t, mknodDisk(filepath.Join(root, "sda"))) // which no image holds
	for _, f := range image.Formats() {
		dir := t.TempDir()
		_, err := image.Write(t.Context(), open(t, root), f, filepath.Join(dir, "image"), options())
		if err == nil || !strings.Contains(err.Error(), `"sda" is a block device`) {
			t.Errorf("%s: it says %v", f, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: there is %v, %v", f, left, err)
		}
	}
}

func TestAMissingProgramIsToldFirst(t *testing.T) {
	root := planted(t, t.TempDir(), 1)
	err := image.Lacks(image.Need{Program: "no-such-program", Why: "does nothing", Packages: map[string]string{"debian": "a", "arch": "b", "fedora": "c"}})
	var missing *image.MissingError
	if !errors.As(err, &missing) || missing.Error() != "no-such-program, which does nothing, is not installed" ||
		missing.Hint() != "install a (Debian), b (Arch Linux) or c (Fedora)" {
		t.Errorf("it says %v", err)
	}
	if _, err := image.Write(t.Context(), open(t, root), "iso", filepath.Join(t.TempDir(), "x"), options()); err == nil || !strings.Contains(err.Error(), "there are directory, tar") {
		t.Errorf("of a format that is none it says %v", err)
	}
}

func TestChecksumsAreWhatSha256sumReads(t *testing.T) {
	dir := t.TempDir()
	root := planted(t, t.TempDir(), 1)
	var made []image.Artifact
	for _, f := range []image.Format{image.TarZstd, image.Tar, image.OCI} {
		a, err := image.Write(t.Context(), open(t, root), f, filepath.Join(dir, "odd."+string(f)), options())
		must(t, err)
		made = append(made, a)
	}
	for name, text := range map[string][]byte{"sums": image.Sums(made), "odd.tar" + image.SuffixSum: image.Sum(made[1])} {
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		run(t, dir, "sha256sum", "--check", "--strict", name)
	}
	text := string(image.Sums(made))
	if lines := strings.Split(strings.TrimSpace(text), "\n"); len(lines) != 2 || !strings.HasSuffix(lines[0], "  odd.tar") {
		t.Errorf("it is\n%s", text)
	}
}

func TestALayerThatIsNotTheImagesIsRefused(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(t.TempDir(), "tree")
	must(t, os.MkdirAll(other, 0o755))
	var layers []string
	for name, tree := range map[string]string{"one": planted(t, t.TempDir(), 1), "two": other} {
		a, err := image.Write(t.Context(), open(t, tree), image.OCI, filepath.Join(dir, name), options())
		must(t, err)
		layers = append(layers, largest(t, filepath.Join(a.Path, "blobs/sha256")))
	}
	must(t, os.Rename(layers[0], layers[1]))
	for _, name := range []string{"one", "two"} {
		to := filepath.Join(dir, "unpacked")
		if err := image.Unpack(t.Context(), filepath.Join(dir, name), image.OCI, to); err == nil {
			t.Errorf("%s was taken", name)
		}
		if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("there is something left: %v", err)
		}
	}
}

// largest is the path of the largest file in a directory.
func largest(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	name, size := "", int64(-1)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Size() > size {
			name, size = e.Name(), info.Size()
		}
	}
	return filepath.Join(dir, name)
}
