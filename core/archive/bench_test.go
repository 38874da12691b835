package archive_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

// BenchmarkExtract unpacks the tree at NSPAWN_BUILD_BENCH_TREE, which a warm
// cache does with that of a distribution.
func BenchmarkExtract(b *testing.B) {
	path := os.Getenv("NSPAWN_BUILD_BENCH_TREE")
	if path == "" {
		b.Skip("NSPAWN_BUILD_BENCH_TREE names no tree")
	}
	for _, c := range []archive.Compression{archive.None, archive.Zstd, archive.Gzip} {
		var packed bytes.Buffer
		pack := func(b *testing.B) {
			packed.Reset()
			w, err := archive.Compress(&packed, c, archive.CompressOptions{Fast: true})
			must(b, err)
			must(b, archive.Write(b.Context(), w, open(b, path), archive.WriteOptions{}))
			must(b, w.Close())
		}
		b.Run("write as "+string(c), func(b *testing.B) {
			for b.Loop() {
				pack(b)
			}
			b.ReportMetric(float64(packed.Len())/1e6, "MB")
		})
		b.Run("decompress "+string(c), func(b *testing.B) {
			for b.Loop() {
				r, err := archive.Decompress(bytes.NewReader(packed.Bytes()), c)
				must(b, err)
				n, err := io.Copy(io.Discard, r)
				must(b, err)
				b.SetBytes(n)
				must(b, r.Close())
			}
		})
		b.Run("extract "+string(c), func(b *testing.B) {
			for b.Loop() {
				root := filepath.Join(b.TempDir(), "root")
				must(b, rootfs.MakeRoot(root))
				r, err := archive.Decompress(bytes.NewReader(packed.Bytes()), c)
				must(b, err)
				must(b, archive.Extract(b.Context(), r, root, archive.ExtractOptions{}))
				must(b, r.Close())
			} // what was made is removed at the end: ext4 without a journal is slow to give inodes out again
		})
	}
}
