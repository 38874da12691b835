package archive

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// Compression is how a stream is compressed, named as files are.
type Compression string

// The compressions.
const (
	None Compression = ""
	Zstd Compression = "zst"
	XZ   Compression = "xz"
	Gzip Compression = "gz"
)

// CompressOptions say how much to compress.
type CompressOptions struct {
	// Fast is for what is read again soon: it takes half of the time for a
	// tenth more bytes.
	Fast bool
}

// crew is how many work on a stream, on however many processors: what comes out
// depends on how the work is cut, and so must not depend on those.
const crew = 2

// window bounds the memory that a stream can make its reader take.
const window = 128 << 20

// Compress writes to w what is written to it, compressed. Neither the time nor the
// number of processors leaves a trace; another version of the compressor
// may. What it returns must be closed; w is not.
func Compress(w io.Writer, c Compression, o CompressOptions) (io.WriteCloser, error) {
	switch c {
	case None:
		return nopCloser{w}, nil
	case Zstd:
		level := zstd.SpeedDefault
		if o.Fast {
			level = zstd.SpeedFastest
		}
		return zstd.NewWriter(w, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(crew), zstd.WithEncoderCRC(true))
	case Gzip:
		level := pgzip.DefaultCompression
		if o.Fast {
			level = pgzip.BestSpeed
		}
		z, err := pgzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, err
		}
		return z, z.SetConcurrency(1<<20, crew)
	case XZ:
		return compressXZ(w, o)
	}
	return nil, fmt.Errorf("compression %q: %w", c, errors.ErrUnsupported)
}

// Decompress reads what Compress wrote. What is damaged or cut short is an
// error at the latest where it ends; so who reads must read until then. r is
// not closed.
func Decompress(r io.Reader, c Compression) (io.ReadCloser, error) {
	switch c {
	case None:
		return io.NopCloser(r), nil
	case Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(window))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case Gzip:
		z, err := pgzip.NewReader(r)
		if err != nil { // it has read the header
			return nil, &badError{err}
		}
		return quiet{z}, nil
	case XZ:
		return decompressXZ(r)
	}
	return nil, fmt.Errorf("compression %q: %w", c, errors.ErrUnsupported)
}

type nopCloser struct{ io.Writer }

// Close does nothing.
func (nopCloser) Close() error { return nil }

// quiet closes without telling again what reading told.
type quiet struct{ io.ReadCloser }

// Close does not fail.
func (q quiet) Close() error {
	_ = q.ReadCloser.Close()
	return nil
}
