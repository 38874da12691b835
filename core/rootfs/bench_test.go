package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkRemoveTree removes a tree about as large as a minimal Debian.
func BenchmarkRemoveTree(b *testing.B) {
	ways := map[string]func(path string) error{
		"RemoveTree": func(path string) error {
			return RemoveTree(b.Context(), path, identityOf(b, path))
		},
		"os.RemoveAll": os.RemoveAll,
	}
	for name, remove := range ways {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "machine")
			for b.Loop() {
				b.StopTimer()
				plant(b, path, 10_000)
				b.StartTimer()
				must(b, remove(path))
			}
			b.ReportMetric(10_000, "files")
		})
	}
}

// plant makes a tree of n files, twelve to a directory and up to six deep.
func plant(tb testing.TB, root string, n int) {
	tb.Helper()
	for dir := 0; dir*12 < n; dir++ {
		path := filepath.Join(root, "usr", fmt.Sprint(dir%3), fmt.Sprint(dir%7), fmt.Sprint(dir%31), fmt.Sprint(dir))
		must(tb, os.MkdirAll(path, 0o755))
		for file := dir * 12; file < min(n, dir*12+12); file++ {
			must(tb, os.WriteFile(filepath.Join(path, fmt.Sprint(file)), make([]byte, 3000), 0o644))
		}
	}
}

// identityOf is what the caller of RemoveTree would have kept.
func identityOf(tb testing.TB, path string) Identity {
	tb.Helper()
	tree := open(tb, path)
	id, err := tree.Identity()
	must(tb, errors.Join(err, tree.Close()))
	return id
}
