package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/archive/archivetest"
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

func written(t testing.TB, path string, o archive.WriteOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, archive.Write(t.Context(), &b, open(t, path), o))
	return b.Bytes()
}

// extracted is where a stream was unpacked, or what was wrong with it.
func extracted(t testing.TB, stream io.Reader, o archive.ExtractOptions) (string, error) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	must(t, rootfs.MakeRoot(root))
	return root, archive.Extract(t.Context(), stream, root, o)
}

func TestATreeComesBackAsItWas(t *testing.T) {
	from := filepath.Join(t.TempDir(), "tree")
	archivetest.Plant(t, from, 1)
	for _, c := range []archive.Compression{archive.None, archive.Zstd, archive.Gzip, archive.XZ} {
		t.Run("compressed by "+string(c), func(t *testing.T) {
			var b bytes.Buffer
			w, err := archive.Compress(&b, c, archive.CompressOptions{Fast: true})
			must(t, err)
			must(t, archive.Write(t.Context(), w, open(t, from), archive.WriteOptions{}))
			must(t, w.Close())
			r, err := archive.Decompress(&b, c)
			must(t, err)
			to, err := extracted(t, r, archive.ExtractOptions{})
			must(t, err)
			must(t, r.Close())
			if diff := cmp.Diff(archivetest.Portrait(t, from), archivetest.Portrait(t, to)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheSameTreeIsTheSameBytes(t *testing.T) {
	top := t.TempDir()
	epoch := archive.WriteOptions{Epoch: archivetest.Old}
	archivetest.Plant(t, filepath.Join(top, "one"), 1)
	archivetest.Plant(t, filepath.Join(top, "two"), 2)
	one := written(t, filepath.Join(top, "one"), epoch)
	if !bytes.Equal(one, written(t, filepath.Join(top, "two"), epoch)) {
		t.Error("planted in another order it is another")
	}
	// A tree that is itself the archive's.
	to, err := extracted(t, bytes.NewReader(one), archive.ExtractOptions{})
	must(t, err)
	if !bytes.Equal(one, written(t, to, archive.WriteOptions{})) {
		t.Error("unpacked and packed again it is another")
	}
	if shm, err := os.MkdirTemp("/dev/shm", "archive-test-"); err == nil { // another file system
		t.Cleanup(func() { must(t, os.RemoveAll(shm)) })
		root := filepath.Join(shm, "root")
		must(t, rootfs.MakeRoot(root))
		if err := archive.Extract(t.Context(), bytes.NewReader(one), root, archive.ExtractOptions{}); err != nil {
			t.Logf("tmpfs cannot hold the tree here: %v", err)
		} else if !bytes.Equal(one, written(t, root, archive.WriteOptions{})) {
			t.Error("on another file system it is another")
		}
	}
}

func TestCompressionDoesNotDependOnProcessors(t *testing.T) {
	data := make([]byte, 40<<20)
	for i := range data {
		data[i] = byte(i * i >> 7 & 0x3f)
	}
	for _, c := range []archive.Compression{archive.Zstd, archive.Gzip, archive.XZ} {
		sums := map[[32]byte]bool{}
		for _, n := range []int{1, 2, 4} {
			before := runtime.GOMAXPROCS(n)
			var b bytes.Buffer
			w, err := archive.Compress(&b, c, archive.CompressOptions{Fast: true})
			must(t, err)
			for rest := data; len(rest) > 0; { // and not on how it comes
				part := min(len(rest), 1000*n*n+n)
				_, err := w.Write(rest[:part])
				must(t, err)
				rest = rest[part:]
			}
			must(t, w.Close())
			runtime.GOMAXPROCS(before)
			sums[sha256.Sum256(b.Bytes())] = true
		}
		if len(sums) != 1 {
			t.Errorf("%s: %d different results", c, len(sums))
		}
	}
}

func TestWhatIsNewerThanTheEpochGetsIt(t *testing.T) {
	from := filepath.Join(t.TempDir(), "tree")
	archivetest.Plant(t, from, 1)
	epoch := archivetest.Old.Add(time.Hour)
	in := tar.NewReader(bytes.NewReader(written(t, from, archive.WriteOptions{Epoch: epoch})))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		want := archivetest.Old
		if h.Name == "./"+archivetest.Young {
			want = epoch
		}
		if !h.ModTime.Equal(want) {
			t.Errorf("%s is of %s, want %s", h.Name, h.ModTime, want)
		}
	}
}

func TestWhatIsLeftOutLeavesItsDirectory(t *testing.T) {
	from := filepath.Join(t.TempDir(), "tree")
	archivetest.Plant(t, from, 1)
	to, err := extracted(t, bytes.NewReader(written(t, from, archive.WriteOptions{Leave: []string{"usr/share", "not/there"}})), archive.ExtractOptions{})
	must(t, err)
	left, err := os.ReadDir(filepath.Join(to, "usr/share"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%d entries are there", len(left))
	}
	if _, err := os.Stat(filepath.Join(to, "usr/bin/su")); err != nil {
		t.Error(err)
	}
}

func TestADiskIsNoPartOfAnImage(t *testing.T) {
	root := t.TempDir()
	in := tarOf(t, tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8, Mode: 0o600})
	if _, err := extracted(t, in, archive.ExtractOptions{}); !errors.Is(err, archive.ErrBad) {
		t.Errorf("unpacked: %v", err)
	}
	must(t, mknodBlock(filepath.Join(root, "sda")))
	err := archive.Write(t.Context(), io.Discard, open(t, root), archive.WriteOptions{})
	if err == nil || !strings.Contains(err.Error(), `"sda" is a block device`) {
		t.Errorf("packed: %v", err)
	}
}

func TestCancelledInTheMiddleItSaysSo(t *testing.T) {
	from := filepath.Join(t.TempDir(), "tree")
	archivetest.Plant(t, from, 1)
	stream := written(t, from, archive.WriteOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	root := filepath.Join(t.TempDir(), "root")
	must(t, rootfs.MakeRoot(root))
	half := io.MultiReader(bytes.NewReader(stream[:len(stream)/2]), reads(func() { cancel() }), bytes.NewReader(stream[len(stream)/2:]))
	if err := archive.Extract(ctx, half, root, archive.ExtractOptions{}); !errors.Is(err, context.Canceled) || errors.Is(err, archive.ErrBad) {
		t.Errorf("it says %v", err)
	}
}

type reads func()

func (r reads) Read([]byte) (int, error) { r(); return 0, io.EOF }
