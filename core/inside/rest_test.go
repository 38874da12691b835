package inside

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// TestWhatCameBeforeTheDeadlineIsRead is what happens on a host that is so busy
// that the reader is late.
func TestWhatCameBeforeTheDeadlineIsRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }() // somebody else in the machine still has it open
	if _, err := w.WriteString("the last words"); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	s := &streams{exited: make(chan struct{})}
	if err := r.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	s.pass(&got, r)
	if got.String() != "the last words" {
		t.Errorf("got %q", got.String())
	}
}
