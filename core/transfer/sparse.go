package transfer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// holed counts a file that has holes in the stream itself. All else comes byte by
// byte, and ends when no more comes; these are read for as long as their headers
// say, at no cost to whoever sends them.
func (u *unpacker) holed(h *tar.Header, name string) error {
	for key := range h.PAXRecords {
		if !strings.HasPrefix(key, "GNU.sparse.") {
			continue
		}
		if h.Size > u.holes {
			return fmt.Errorf("%q has more holes than are copied", name)
		}
		u.holes -= h.Size
		return nil
	}
	return nil
}

// writeSparse leaves out what is zero anyway.
func writeSparse(ctx context.Context, f *os.File, in io.Reader, size int64) error {
	const block = 64 << 10
	buf, zeros := make([]byte, block), make([]byte, block)
	for offset := int64(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.ReadFull(in, buf)
		if n > 0 && !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := f.WriteAt(buf[:n], offset); err != nil {
				return err
			}
		}
		offset += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if offset != size {
				return fmt.Errorf("%d of %d bytes came: %w", offset, size, io.ErrUnexpectedEOF)
			}
			return f.Truncate(size)
		case err != nil:
			return err
		}
	}
}
