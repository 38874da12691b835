package rootfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
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

// BenchmarkClone copies a tree about as large as a machine of Debian's minimal
// packages, ours and that of cp in turns: clone/cp is the ratio to be quoted.
// Where the file system shares content, both do.
func BenchmarkClone(b *testing.B) {
	top := b.TempDir()
	from := filepath.Join(top, "machine")
	plantMachine(b, from)
	tree := open(b, from)
	clone := func(to string) time.Duration {
		start := time.Now()
		_, err := tree.Clone(b.Context(), to, CloneOptions{})
		must(b, err)
		return time.Since(start)
	}
	cp := func(to string) time.Duration {
		start := time.Now()
		out, err := exec.CommandContext(b.Context(), "cp", "-a", "--reflink=auto", from, to).CombinedOutput()
		if err != nil {
			b.Fatalf("cp: %v: %s", err, out)
		}
		return time.Since(start)
	}
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		// Whoever is second finds the caches warm and the disk busy.
		if n++; n%2 == 0 {
			ours += clone(filepath.Join(top, "a"))
			theirs += cp(filepath.Join(top, "b"))
		} else {
			theirs += cp(filepath.Join(top, "b"))
			ours += clone(filepath.Join(top, "a"))
		}
		must(b, os.RemoveAll(filepath.Join(top, "a")))
		must(b, os.RemoveAll(filepath.Join(top, "b")))
	}
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	b.ReportMetric(ours.Seconds()/float64(n), "clone-s")
	b.ReportMetric(theirs.Seconds()/float64(n), "cp-s")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "clone/cp")
}

// plantMachine makes a tree of 12000 files and 300 MB: mostly small ones, some
// of a megabyte, and as many links.
func plantMachine(tb testing.TB, root string) {
	tb.Helper()
	plant(tb, root, 11_000)
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	for n := range 1000 {
		dir := filepath.Join(root, "usr/lib", fmt.Sprint(n%40))
		must(tb, os.MkdirAll(dir, 0o755))
		must(tb, os.WriteFile(filepath.Join(dir, fmt.Sprint("library", n)), data[:64<<10+n*400], 0o644))
		must(tb, os.Symlink(fmt.Sprint("library", n), filepath.Join(dir, fmt.Sprint("link", n))))
	}
}
