package archive_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/archive/archivetest"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
)

func TestHolesThatASmallStreamHasAreMadeAndCount(t *testing.T) {
	const size = 8 << 20
	limit := archive.ExtractOptions{MaxBytes: 2 * size}
	for name, stream := range archivetest.Sparse("holes", size) {
		root, err := extracted(t, bytes.NewReader(stream), limit)
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Stat(filepath.Join(root, "holes"), &st))
		if st.Size != size || st.Blocks > 8 {
			t.Errorf("%s: of %d bytes %d are on disk", name, st.Size, st.Blocks*512)
		}
	}
	for _, size := range []int64{2*size + 1, archive.DefaultMaxBytes + 1, math.MaxInt64} {
		for name, stream := range archivetest.Sparse("holes", size) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			root := filepath.Join(t.TempDir(), "root")
			must(t, rootfs.MakeRoot(root))
			if err := archive.Extract(ctx, bytes.NewReader(stream), root, limit); !errors.Is(err, archive.ErrBad) || !errors.Is(err, archive.ErrTooLarge) {
				t.Errorf("%s, %d bytes: it says %v", name, size, err)
			}
			cancel()
		}
	}
}

func TestSmallHolesAreTogetherNoMoreThanAnArchiveMayHold(t *testing.T) {
	const size, directory, end = 1 << 20, 512, 1024
	var all []byte
	for _, name := range []string{"a", "b", "c"} {
		stream := archivetest.Sparse(name, size)["GNU 0.1"]
		all = append(all, stream[directory:len(stream)-end]...)
	}
	all = append(all, make([]byte, end)...)
	for most, bad := range map[int64]bool{3 * size: false, 3*size - 1: true} {
		if _, err := extracted(t, bytes.NewReader(all), archive.ExtractOptions{MaxBytes: most}); errors.Is(err, archive.ErrBad) != bad {
			t.Errorf("of at most %d bytes: %v", most, err)
		}
	}
}

func TestAFileOfHolesEndsWithTheContext(t *testing.T) {
	for name, stream := range archivetest.Sparse("holes", archive.DefaultMaxBytes) {
		root := filepath.Join(t.TempDir(), "root")
		must(t, rootfs.MakeRoot(root))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- archive.Extract(ctx, bytes.NewReader(stream), root, archive.ExtractOptions{}) }()
		begun := func() bool {
			_, err := os.Lstat(filepath.Join(root, "holes"))
			return err == nil
		}
		for len(done) == 0 && !begun() {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: it says %v", name, err)
		}
	}
}

func FuzzExtract(f *testing.F) {
	for _, size := range []int64{0, 1 << 10, math.MaxInt64} {
		for _, stream := range archivetest.Sparse("holes", size) {
			f.Add(stream)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		top := t.TempDir()
		root := filepath.Join(top, "root")
		must(t, rootfs.MakeRoot(root))
		_ = archive.Extract(t.Context(), bytes.NewReader(data), root, archive.ExtractOptions{MaxBytes: 1 << 20}) // most are bad
		if entries, err := os.ReadDir(top); err != nil || len(entries) != 1 {
			t.Errorf("beside it there is %v, %v", entries, err)
		}
	})
}
