package archive

import (
	"bytes"
	"io"
)

// trailer is how many zeros end a tar stream. Readers take one that was cut off
// between two entries for whole.
const trailer = 1024

// Ending passes on what is read of a tar stream, and knows whether its end was
// among that.
type Ending struct {
	from  io.Reader
	zeros int64
}

// NewEnding reads from the stream.
func NewEnding(from io.Reader) *Ending { return &Ending{from: from} }

// Read is io.Reader's.
func (e *Ending) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	kept := len(bytes.TrimRight(p[:n], "\x00"))
	if kept > 0 {
		e.zeros = 0
	}
	e.zeros += int64(n - kept)
	return n, err
}

// Ended says that the last that was read is the end of a tar stream.
func (e *Ending) Ended() bool { return e.zeros >= trailer }
