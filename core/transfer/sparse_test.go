package transfer

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
)

// oldForm is of a kind of entry of its own, which is not copied.
const oldForm = "old GNU"

func TestHolesOfAStreamAreHolesAndHaveAnEnd(t *testing.T) {
	const size = 8 << 20
	for form, stream := range archivetest.Sparse("holes", size) {
		to := filepath.Join(t.TempDir(), "copy")
		err := Unpack(t.Context(), bytes.NewReader(stream), to, here(Options{}))
		if form == oldForm {
			if err == nil {
				t.Errorf("%s: it was taken", form)
			}
			continue
		}
		var st unix.Stat_t
		if err := errors.Join(err, unix.Stat(filepath.Join(to, "holes"), &st)); err != nil || st.Size != size || st.Blocks > 8 {
			t.Errorf("%s: of %d bytes %d are on disk, %v", form, st.Size, st.Blocks*512, err)
		}
	}
	for _, size := range []int64{archive.DefaultMaxBytes + 1, math.MaxInt64} {
		for form, stream := range archivetest.Sparse("holes", size) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			err := Unpack(ctx, bytes.NewReader(stream), filepath.Join(t.TempDir(), "copy"), here(Options{}))
			if err == nil || ctx.Err() != nil {
				t.Errorf("%s, %d bytes: %v", form, size, err)
			}
			cancel()
		}
	}
}

func TestAFileOfHolesEndsWithTheContext(t *testing.T) {
	for form, stream := range archivetest.Sparse("holes", archive.DefaultMaxBytes) {
		if form == oldForm {
			continue
		}
		to := filepath.Join(t.TempDir(), "copy")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Unpack(ctx, bytes.NewReader(stream), to, here(Options{})) }()
		begun := func() bool {
			_, err := os.Lstat(filepath.Join(to, "holes"))
			return err == nil
		}
		for len(done) == 0 && !begun() {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: it says %v", form, err)
		}
		if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: this is left: %v", form, err)
		}
	}
}
